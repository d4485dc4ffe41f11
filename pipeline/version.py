"""The version of this software, in the code: results that name it must not depend on how a worker was installed."""

VERSION = "0.1.0"
