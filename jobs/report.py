"""``moebius report SINK``: one HTML page about what a job has made so far."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.cli.arguments import check_writable
from jobs.cli.execute import run_command
from jobs.cli.exit_codes import DONE, EXIT_CODES
from jobs.cli.sink import add_sink_arguments, storage_options
from pipeline.config.job import absolute_uri
from pipeline.errors import ConfigError
from pipeline.report.publish import KEY, SAMPLES, make_report
from pipeline.storage.errors import usable
from pipeline.storage.storage import Storage


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, read, write."""
    parser = argparse.ArgumentParser(
        prog="moebius report",
        description="Write one HTML page about a sink: totals, throughput, seconds a stage, failures, hole sizes, seam "
        "scores, and samples to compare before and after. It needs no network and no other file.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_sink_arguments(parser)
    parser.add_argument("--output", metavar="FILE", type=Path, help=f"write it there (SINK/{KEY})")
    parser.add_argument("--samples", type=int, default=SAMPLES, help=f"with pictures, at most ({SAMPLES})")
    options = parser.parse_args(arguments)
    return run_command(lambda: _report(options))


def _report(options: argparse.Namespace) -> int:
    if options.samples < 0:
        raise ConfigError(f"--samples must not be negative, got {options.samples}")
    if options.output:
        check_writable(options.output)
    access = storage_options(options)
    sink = Storage(absolute_uri(options.sink, "SINK"), access)
    page = make_report(sink, access, options.samples)
    if options.output:
        options.output.write_bytes(page)
    else:
        with usable():
            sink.write(KEY, page)
    sys.stdout.write(f"report: {options.output or sink.uri(KEY)}, {len(page) / 1e6:.1f} MB\n")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
