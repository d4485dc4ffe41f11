"""Runs a command: log, signals, and one line and an exit code for each expected error."""

import contextlib
import logging
import signal
import sys
from collections.abc import Callable

from jobs.cli.exit_codes import FAILED, WRONG_USAGE


def run_command(job: Callable[[], int], resumable: bool = False) -> int:
    """Set up logging and signals, call a job, and turn expected errors into one line and an exit code.

    Args:
        job: returns an exit code.
        resumable: whether running the same command again resumes a job that was interrupted.
    """
    from jobs.log.lines import TextLines
    from moebius.checkpoint import CheckpointError
    from moebius.weights import WeightsUnavailableError
    from pipeline.errors import ConfigError, DamagedManifestError

    handler = logging.StreamHandler()
    handler.setFormatter(TextLines({}))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for noisy in ("httpx", "huggingface_hub", "botocore", "aiobotocore", "ray", "pyiceberg"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    _handle_signals()
    try:
        return job()
    except (ConfigError, CheckpointError, WeightsUnavailableError) as error:
        _print_error(str(error))
        return WRONG_USAGE
    except DamagedManifestError as error:
        _print_error(str(error))
        return FAILED
    except OSError as error:  # such as a full disk or a storage that does not answer
        _print_error(
            str(error) + ("; after fixing the cause, run the same command again to resume" if resumable else "")
        )
        return FAILED
    except KeyboardInterrupt:
        _print_error("stopped; run the same command again to resume" if resumable else "stopped")
        return FAILED


def _print_error(message: str) -> None:
    from pipeline.report.formatting import shown_lines

    with contextlib.suppress(OSError):  # the terminal may be closed
        sys.stderr.write(f"moebius: {shown_lines(message)}\n")


def _handle_signals() -> None:
    """End the job on SIGTERM and on a closed terminal as on Ctrl-C; keep the meaning of ``nohup``."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.default_int_handler)
