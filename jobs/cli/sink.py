"""Opens the sink that a command is about, and runs a command that changes a finished one."""

import argparse
import logging
import os
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jobs.cli.execute import run_command
from jobs.cli.exit_codes import FAILED
from jobs.configuration.load import load_config
from jobs.configuration.storage_options import parse_storage_options

if TYPE_CHECKING:
    from pipeline.storage.storage import Storage

CONFIG_EXTENSIONS = (".yaml", ".yml")

logger = logging.getLogger(__name__)


def opened_sink(options: argparse.Namespace) -> tuple["Storage", dict[str, Any]]:
    """Return the sink of the arguments of ``add_sink``, and the options of its storage.

    Raises:
        ConfigError: SINK is a YAML file that is no configuration, or no uri.
    """
    from pipeline.config.values import absolute_uri
    from pipeline.storage.storage import Storage

    given, access = options.sink, parse_storage_options(options.storage)
    if given.lower().endswith(CONFIG_EXTENSIONS) and "://" not in given and not os.path.isdir(given):
        config = load_config(given, [])
        access = {**config.storage, **access}
        return Storage(config.sink.uri, access), access
    return Storage(absolute_uri(given, "SINK"), access), access


def change_sink(name: str, job: Callable[[str], int]) -> int:
    """Run a command that holds a sink, under a run id made from its name; exit with 1 if another run holds the sink."""

    def change() -> int:
        from pipeline.manifest.lease import LeaseHeldError
        from pipeline.manifest.log import ManifestConflictError

        try:
            return job(f"{name}-{uuid.uuid4().hex[:6]}")
        except (LeaseHeldError, ManifestConflictError) as error:
            logger.error("%s", error)
            return FAILED

    return run_command(change, resumable=True)
