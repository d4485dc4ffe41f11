"""Arguments and errors of the commands that work on a finished sink."""

import argparse
import logging
import uuid
from collections.abc import Callable

from jobs.cli.arguments import SWITCHES
from jobs.cli.execute import run_command
from jobs.cli.exit_codes import FAILED
from pipeline.errors import ConfigError

logger = logging.getLogger(__name__)


def add_sink_arguments(parser: argparse.ArgumentParser) -> None:
    """The sink, and how to reach it."""
    parser.add_argument("sink", metavar="SINK", help="sink.uri of a job")
    parser.add_argument(
        "--storage",
        metavar="key=value",
        action="append",
        default=[],
        help="an fsspec option such as endpoint_url=http://…; may be repeated",
    )


def storage_options(options: argparse.Namespace) -> dict[str, str | bool]:
    """What ``--storage`` says.

    Raises:
        ConfigError: an option that is not ``key=value``; it may be a secret, so it is not repeated.
    """
    if not all("=" in option for option in options.storage):
        raise ConfigError("--storage takes options of the form key=value")
    given = dict(option.split("=", 1) for option in options.storage)
    return {key: value.lower() == "true" if value.lower() in SWITCHES else value for key, value in given.items()}


def change_sink(name: str, job: Callable[[str], int]) -> int:
    """Run a command that holds a sink, under an id made of its name; a sink that is in use is exit code 1."""

    def change() -> int:
        from pipeline.manifest.lease import LeaseHeldError
        from pipeline.manifest.log import ManifestConflictError

        try:
            return job(f"{name}-{uuid.uuid4().hex[:6]}")
        except (LeaseHeldError, ManifestConflictError) as error:
            logger.error("%s", error)
            return FAILED

    return run_command(change, resumable=True)
