"""``moebius forget SINK ID …``: permanently delete samples from a sink."""

import argparse
import sys
from collections.abc import Sequence

from jobs.cli.arguments import add_sink
from jobs.cli.exit_codes import DONE
from jobs.cli.parser import new_parser
from jobs.cli.sink import change_sink, opened_sink


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments, delete the samples, and print how many rows are gone."""
    parser = new_parser(
        "forget",
        "Permanently delete samples from a sink: their results, including those in shards, their reviews "
        "and their rows. Later runs "
        "skip them even if the source still has them. The source and its masks are not changed.",
    )
    add_sink(parser)
    parser.add_argument("sample_ids", metavar="ID", nargs="+", help="sample_id as in the manifest")
    options = parser.parse_args(arguments)
    return change_sink("forget", lambda run_id: _forget(options, run_id))


def _forget(options: argparse.Namespace, run_id: str) -> int:
    from pipeline.maintenance.forget import forget

    sink, _ = opened_sink(options)
    count = forget(sink, options.sample_ids, run_id)
    sys.stdout.write(f"{count} rows removed with their results; later runs on {sink} skip them\n")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
