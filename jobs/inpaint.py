"""``moebius inpaint CONFIG [key=value …]``: run the main job."""

import logging
import sys
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from jobs.cli.arguments import add_config, add_overrides
from jobs.cli.execute import run_command
from jobs.cli.exit_codes import DONE, FAILED, TOO_MANY_FAILED
from jobs.cli.parser import new_parser
from jobs.configuration.load import load_config
from jobs.log.failures import FailureLog
from jobs.log.lines import set_up_log
from jobs.log.progress import Progress
from pipeline.config.job import JobConfig

if TYPE_CHECKING:
    from pipeline.cluster.summary import Summary
    from pipeline.executor.base import Executor

logger = logging.getLogger("jobs.inpaint")  # also when this module is __main__


def main(arguments: Sequence[str] | None = None, executor: "Executor | None" = None) -> int:
    """Parse the arguments, run the job on Ray or another executor, and log a summary."""
    parser = new_parser(
        "inpaint", "Inpaint every image of a source under its mask. When started again, it resumes with what is left."
    )
    add_config(parser)
    add_overrides(parser)
    options = parser.parse_args(arguments)
    return run_command(lambda: _inpaint(options.config, options.overrides, executor), resumable=True)


def _inpaint(path: str, overrides: Sequence[str], executor: "Executor | None") -> int:
    config = load_config(path, overrides)
    from pipeline.errors import JobError
    from pipeline.manifest.lease import LeaseHeldError
    from pipeline.manifest.log import ManifestConflictError
    from pipeline.report.publish import report_run
    from pipeline.run import run_job  # imports Ray, so only after the configuration is checked

    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    set_up_log(config.run.log, config.storage, run_id)
    failures = FailureLog()
    try:
        with Progress(sys.stderr, may_draw=config.run.log == "text") as progress:

            def on_rows(rows: pa.Table, todo: int) -> None:
                failures.update(rows)
                progress.update(rows, todo)

            summary = run_job(config, run_id, on_rows, executor, progress.expect)
    except (JobError, LeaseHeldError, ManifestConflictError) as error:
        logger.error("%s", error)
        return FAILED
    _log_summary(summary)
    report_run(config, summary)
    return _exit_code(config, summary)


def _log_summary(summary: "Summary") -> None:
    from pipeline.cluster.sentences import sentences

    for sentence in sentences(asdict(summary)):
        logger.log(logging.WARNING if sentence.is_warning else logging.INFO, "%s", sentence.text)


def _exit_code(config: JobConfig, summary: "Summary") -> int:
    if summary.failed_fraction > config.limits.max_failed_fraction:
        logger.error(
            "%.1f%% of the samples failed, limits.max_failed_fraction=%s",
            100 * summary.failed_fraction,
            config.limits.max_failed_fraction,
        )
        return TOO_MANY_FAILED
    return DONE


if __name__ == "__main__":
    sys.exit(main())
