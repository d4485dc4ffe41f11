"""Controls Ray in this process: environment variables and output of its core."""

import contextlib
import os
import site
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

import pipeline
from pipeline.cluster.connection.ray_private import forbid_auto_connect, print_lines_of_nodes, reread_variables

PREFIXES = ("RAY_", "PYTHONBREAKPOINT")  # of the variables that Ray sets in a driver
RECONNECT = "RAY_gcs_rpc_server_reconnect_timeout_s"  # without a head node; then Ray's core ends the process
DEFAULTS = {
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # the remarks of Ray's core look like errors and are none
    RECONNECT: "60",
    # By default an idle worker ends after one second, and starting another takes about as long.
    "RAY_idle_worker_killing_time_threshold_ms": "5000",
    # A driver that is killed keeps the nodes that it asked for from the next one until its request expires, by default
    # for 180 s; a living one renews it every 10 s.
    "RAY_DATA_AUTOSCALING_REQUEST_EXPIRE_TIME_S": "40",
}


def set_variables(variables: Mapping[str, str]) -> None:
    """Set environment variables of Ray, although it read them when it was imported."""
    os.environ.update(variables)
    reread_variables()


@contextlib.contextmanager
def restored_afterwards() -> Iterator[None]:
    """Set the variables of a driver, and restore them and Ray's own at the end, for the next cluster.

    Inside the block, lines that Ray's nodes send to drivers are not printed: the supervisor reports what matters.
    """
    kept = {name: value for name, value in os.environ.items() if name.startswith(PREFIXES)}
    print_lines_of_nodes(False)
    forbid_auto_connect()
    set_variables({**DEFAULTS, **kept})
    try:
        yield
    finally:
        print_lines_of_nodes(True)
        for name in [name for name in os.environ if name.startswith(PREFIXES)]:
            del os.environ[name]
        set_variables(kept)


@contextlib.contextmanager
def silent_core() -> Iterator[None]:
    """Discard output of Ray's core on standard error, such as remarks on its own log level."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def away_from_user_modules() -> Iterator[None]:
    """Change the folder while connecting: workers import from the driver's working directory first.

    A ``pipeline.py`` or ``jobs/`` of the user would replace ours there, although the driver has imported ours.
    """
    root, here = Path(pipeline.__file__).resolve().parent.parent, Path.cwd()
    installed = {*site.getsitepackages(), site.getusersitepackages()}
    # An installed package is found without help, and first of all may come what comes first anyway.
    os.chdir(sysconfig.get_path("stdlib") if str(root) in installed else root)
    try:
        yield
    finally:
        os.chdir(here)
