"""``moebius verify SINK [--hash] [--mark]``: compare the files of a sink with its rows."""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobs.cli.arguments import add_sink
from jobs.cli.exit_codes import DISAGREE, DONE
from jobs.cli.parser import new_parser
from jobs.cli.sink import change_sink, opened_sink

if TYPE_CHECKING:
    from pipeline.maintenance.verify import Findings


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments, compare, and print a table."""
    parser = new_parser(
        "verify",
        "Compare the files of a sink with its rows: every result exists with the size in its row, and a row names "
        "every file in data/. Reads listings only; with --hash, every result. Deletes nothing, and refuses a sink that "
        "a run holds.",
    )
    add_sink(parser)
    parser.add_argument("--hash", action="store_true", help="also read every result and compare its SHA-256")
    parser.add_argument(
        "--mark",
        action="store_true",
        help="turn the rows of missing and damaged results into failed ones, which the next run reprocesses",
    )
    options = parser.parse_args(arguments)
    return change_sink("verify", lambda run_id: _verify(options, run_id))


def _verify(options: argparse.Namespace, run_id: str) -> int:
    from pipeline.maintenance.verify import verify, verify_and_mark

    sink, _ = opened_sink(options)
    started = time.monotonic()
    findings = (verify_and_mark if options.mark else verify)(sink, run_id, options.hash)
    sys.stdout.write(_table(findings, options.mark) + _throughput(findings, time.monotonic() - started))
    return DONE if findings.agree else DISAGREE


def _table(findings: "Findings", is_marking: bool) -> str:
    """Format the counts, then the first few examples of each kind."""
    from pipeline.maintenance.verify import ORPHAN
    from pipeline.records import RESULT_DAMAGED, RESULT_MISSING

    counts = findings.counts
    remedy = "marked: the next moebius inpaint" if is_marking else "with --mark, the next moebius inpaint"
    remedy += " reprocesses them"
    bad = counts[RESULT_DAMAGED] + counts[RESULT_MISSING]
    lines = [
        ("results", findings.results, "rows that name a result"),
        ("agree", findings.results - bad, ""),
        ("damaged", counts[RESULT_DAMAGED], remedy if counts[RESULT_DAMAGED] else ""),
        ("missing", counts[RESULT_MISSING], remedy if counts[RESULT_MISSING] else ""),
        ("orphans", counts[ORPHAN], "files that no row names: moebius vacuum" if counts[ORPHAN] else ""),
        ("marked before", findings.marked, "failed until moebius inpaint reprocesses them" if findings.marked else ""),
    ]
    table = [f"{label + ':':<15} {count:>9}  {note}".rstrip() for label, count, note in lines]
    return "\n".join([*table, *(_line(*example) for example in findings.examples), ""])


def _line(kind: str, name: str, message: str) -> str:
    text = f"{kind:<13} {name}: {message}"
    return text if text.isprintable() else ascii(text)[1:-1]


def _throughput(findings: "Findings", seconds: float) -> str:
    read_mb = findings.read_bytes / 1e6
    return (
        f"{findings.files} files in {seconds:.1f} s: {findings.files / seconds:.0f} files/s"
        + (f", {read_mb:.1f} MB read, {read_mb / seconds:.1f} MB/s" if read_mb else "")
        + "\n"
    )


if __name__ == "__main__":
    sys.exit(main())
