"""The ``moebius`` command: one name for all jobs, and the exit codes they share."""

import contextlib
import importlib
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version

DONE, FAILED, WRONG_USAGE, TOO_MANY_FAILED = 0, 1, 2, 3
DISAGREE = TOO_MANY_FAILED

COMMANDS = {
    "inpaint": "repaint every image of a source under its mask: plan, run, commit, summary",
    "plan": "what inpaint would do; changes nothing",
    "config": "the effective configuration, and where each value comes from",
    "preview": "a picture of some samples with their masks, before anything is repainted",
    "vacuum": "list, and on request delete, files of a sink that nothing needs",
    "verify": "compare the files of a sink with its rows; on request mark what is damaged, to be done again",
    "forget": "delete samples from a sink for good: result, row, and the way back",
    "distill": "train the denoiser, with or without a teacher, the autoencoder or a teacher; goes on after a kill",
    "evaluate": "models and classical fills against the truth: PSNR, SSIM and texture inside seeded holes",
    "convert": "turn checkpoints from .bin into .safetensors and back",
    "bench": "figures of the pipeline on this machine, as a table and as JSON",
    "report": "a page about a sink: totals, throughput, failures, and samples before and after",
    "contact-sheet": "a picture of some results: before, mask, after",
}

EXIT_CODES = """exit codes: 0 done, 1 the job failed, 2 wrong usage or configuration (nothing was started),
3 done, but more samples failed than limits.max_failed_fraction allows, or (verify) files and rows disagree"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``moebius COMMAND …`` and return its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments == ["--version"]:
        print(f"moebius {_version()}")  # noqa: T201 - as below
        return DONE
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())  # noqa: T201 - the answer to --help belongs on standard output
        return DONE if arguments else WRONG_USAGE
    command, *rest = arguments
    if command not in COMMANDS:
        sys.stderr.write(f"moebius: no command {command!r}; there are {', '.join(COMMANDS)}\n")
        return WRONG_USAGE
    return importlib.import_module(f"jobs.{command.replace('-', '_')}").main(rest)


def run_command(job: Callable[[], int], goes_on: bool = False) -> int:
    """Call a job with logging set up; turn the errors that it announces into one line and an exit code.

    Args:
        job: returns an exit code.
        goes_on: whether the same command, given again, does what was left when a signal stopped it.
    """
    from jobs.logs import TEXT, TIME
    from moebius.checkpoint import CheckpointError
    from moebius.weights import WeightsUnavailableError
    from pipeline.errors import ConfigError, DamagedManifestError

    logging.basicConfig(level=logging.INFO, format=TEXT, datefmt=TIME)
    for noisy in ("httpx", "huggingface_hub", "botocore", "aiobotocore", "ray"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    _end_as_by_ctrl_c()
    try:
        return job()
    except (ConfigError, CheckpointError, WeightsUnavailableError) as error:
        _say(str(error))
        return WRONG_USAGE
    except DamagedManifestError as error:
        _say(str(error))
        return FAILED
    except OSError as error:  # a disk that is full, a storage that does not answer
        _say(str(error) + ("; once that is mended, the same command goes on from here" if goes_on else ""))
        return FAILED
    except KeyboardInterrupt:
        _say("stopped; the same command goes on from here" if goes_on else "stopped")
        return FAILED


def _say(sentence: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be closed
        sys.stderr.write(f"moebius: {sentence}\n")


def _end_as_by_ctrl_c() -> None:
    """Let a scheduler's SIGTERM and a closed terminal end the job as Ctrl-C does; `nohup` keeps its meaning."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.default_int_handler)


def _version() -> str:
    try:
        return version("moebius-pipeline")
    except PackageNotFoundError:
        return "of a folder, not installed"


def _usage() -> str:
    lines = [f"  {name:<14} {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: moebius COMMAND [arguments]        (also: python -m jobs.COMMAND [arguments]; moebius --version)",
            "",
            "Batch image inpainting with the Moebius model on Ray.",
            "",
            *lines,
            "",
            "moebius COMMAND --help tells more.",
            EXIT_CODES,
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
