"""``moebius report SINK``: write an HTML page about what a job has produced so far."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.cli.arguments import add_sink, check_writable
from jobs.cli.execute import run_command
from jobs.cli.exit_codes import DONE
from jobs.cli.parser import new_parser
from jobs.cli.sink import opened_sink
from pipeline.errors import ConfigError
from pipeline.report.publish import KEY, SAMPLES, make_report
from pipeline.storage.errors import usable


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments, read the sink, and write the page."""
    parser = new_parser(
        "report",
        "Write one HTML page about a sink: totals, throughput, seconds per stage, failures, hole sizes, seam scores, "
        "and samples before and after. The page needs neither a network nor another file.",
    )
    add_sink(parser)
    parser.add_argument("--output", metavar="FILE", type=Path, help=f"file to write (SINK/{KEY})")
    parser.add_argument("--samples", type=int, default=SAMPLES, help=f"samples with pictures, at most ({SAMPLES})")
    options = parser.parse_args(arguments)
    return run_command(lambda: _report(options))


def _report(options: argparse.Namespace) -> int:
    if options.samples < 0:
        raise ConfigError(f"--samples must not be negative, got {options.samples}")
    if options.output:
        check_writable(options.output)
    sink, access = opened_sink(options)
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
