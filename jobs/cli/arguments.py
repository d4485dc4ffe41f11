"""Arguments that several commands take."""

import argparse
from pathlib import Path

from pipeline.storage.errors import usable

SWITCHES = ("true", "false")  # of options of a storage, which are text otherwise


def positive(text: str) -> int:
    """A count of at least one.

    Raises:
        ArgumentTypeError: anything else.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text}")
    return int(text)


def check_writable(path: Path) -> None:
    """Make the folder of a file that a command will write, and make sure before its work that it can.

    Raises:
        ConfigError: it cannot.
    """
    with usable(f"cannot write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        was_there = path.exists()
        with path.open("ab"):
            pass
        if not was_there:
            path.unlink()


def add_config_arguments(
    parser: argparse.ArgumentParser,
    example: str = "conf/inpaint.yaml, which lists every key",
    override: str = "source.uri=s3://bucket/photos",
) -> None:
    """A file of YAML and what replaces its values, with an example of each."""
    parser.add_argument("config", metavar="CONFIG", help=f"YAML file such as {example}")
    parser.add_argument(
        "overrides", metavar="key=value", nargs="*", default=[], help=f"override a key, e.g. {override}"
    )
