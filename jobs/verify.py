"""``moebius verify SINK [--hash] [--mark]``: compare the files of a sink with the rows that name them."""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobs.cli.exit_codes import DISAGREE, DONE, EXIT_CODES
from jobs.cli.sink import add_sink_arguments, change_sink, storage_options

if TYPE_CHECKING:
    from pipeline.maintenance.verify import Findings


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, compare, print."""
    parser = argparse.ArgumentParser(
        prog="moebius verify",
        description="Compare the files of a sink with its rows: every result exists with the size that its row says, "
        "and a row names every file in data/. Reads listings only, and with --hash every result. Deletes nothing, and "
        "does nothing while a run holds the sink.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_sink_arguments(parser)
    parser.add_argument("--hash", action="store_true", help="read every result and compare its SHA-256, too")
    parser.add_argument(
        "--mark",
        action="store_true",
        help="turn rows of missing and damaged results into failed ones, which the next run does again",
    )
    options = parser.parse_args(arguments)
    return change_sink("verify", lambda run_id: _verify(options, run_id))


def _verify(options: argparse.Namespace, run_id: str) -> int:
    from pipeline.config.data import absolute_uri
    from pipeline.maintenance.verify import verify, verify_and_mark
    from pipeline.storage.storage import Storage

    sink = Storage(absolute_uri(options.sink, "SINK"), storage_options(options))
    started = time.monotonic()
    findings = (verify_and_mark if options.mark else verify)(sink, run_id, options.hash)
    sys.stdout.write(_table(findings, options.mark) + _throughput(findings, time.monotonic() - started))
    return DONE if findings.agree else DISAGREE


def _table(findings: "Findings", is_marking: bool) -> str:
    """Counts, then the first few examples of each kind."""
    from pipeline.maintenance.verify import ORPHAN
    from pipeline.records import RESULT_DAMAGED, RESULT_MISSING

    counts, then = (
        findings.counts,
        "marked: the same moebius inpaint does them again" if is_marking else "--mark has them done again",
    )
    bad = counts[RESULT_DAMAGED] + counts[RESULT_MISSING]
    lines = [
        ("results", findings.results, "rows that name a result"),
        ("agree", findings.results - bad, ""),
        ("damaged", counts[RESULT_DAMAGED], then if counts[RESULT_DAMAGED] else ""),
        ("missing", counts[RESULT_MISSING], then if counts[RESULT_MISSING] else ""),
        ("orphans", counts[ORPHAN], "files that no row names: moebius vacuum" if counts[ORPHAN] else ""),
        (
            "marked before",
            findings.marked,
            "failed until moebius inpaint has done them again" if findings.marked else "",
        ),
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
