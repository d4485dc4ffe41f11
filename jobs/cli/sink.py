"""Runs a command that changes a finished sink."""

import logging
import uuid
from collections.abc import Callable

from jobs.cli.execute import run_command
from jobs.cli.exit_codes import FAILED

logger = logging.getLogger(__name__)


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
