"""``moebius forget SINK ID …``: delete samples from a sink for good."""

import argparse
import sys
from collections.abc import Sequence

from jobs.cli.exit_codes import DONE, EXIT_CODES
from jobs.cli.sink import add_sink_arguments, change_sink, storage_options


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, delete, tell."""
    parser = argparse.ArgumentParser(
        prog="moebius forget",
        description="Delete samples from a sink for good: their results, also out of shards, and their rows. Later "
        "runs leave them out although the source may still have them. The source and its masks are not touched.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_sink_arguments(parser)
    parser.add_argument("sample_ids", metavar="ID", nargs="+", help="sample_id as in the manifest")
    options = parser.parse_args(arguments)
    return change_sink("forget", lambda run_id: _forget(options, run_id))


def _forget(options: argparse.Namespace, run_id: str) -> int:
    from pipeline.config.data import absolute_uri
    from pipeline.maintenance.forget import forget
    from pipeline.storage.storage import Storage

    sink = Storage(absolute_uri(options.sink, "SINK"), storage_options(options))
    count = forget(sink, options.sample_ids, run_id)
    sys.stdout.write(f"{count} rows removed with their results; later runs on {sink} leave them out\n")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
