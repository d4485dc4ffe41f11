"""``moebius vacuum SINK [--delete]``: files of a sink that nothing needs."""

import argparse
import sys
from collections.abc import Sequence

from jobs.cli.exit_codes import DONE, EXIT_CODES
from jobs.cli.sink import add_sink_arguments, change_sink, storage_options


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, list, delete on request."""
    parser = argparse.ArgumentParser(
        prog="moebius vacuum",
        description="List files of a sink that nothing needs: results that no row of the manifest names, what killed "
        "processes left half done, and replaced parts of the manifest. Nothing outside data/, manifest/ and .staging/ "
        "is looked at, and nothing is done while a run holds the sink.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_sink_arguments(parser)
    parser.add_argument("--delete", action="store_true", help="delete them; otherwise they are only listed")
    options = parser.parse_args(arguments)
    return change_sink("vacuum", lambda run_id: _vacuum(options, run_id))


def _vacuum(options: argparse.Namespace, run_id: str) -> int:
    from pipeline.config.data import absolute_uri
    from pipeline.maintenance.vacuum import delete_orphans, find_orphans
    from pipeline.storage.storage import Storage

    sink = Storage(absolute_uri(options.sink, "SINK"), storage_options(options))
    count = size_bytes = 0
    for orphan in (delete_orphans if options.delete else find_orphans)(sink, run_id):
        name = orphan.key if orphan.key.isprintable() else ascii(orphan.key)
        sys.stdout.write(f"{orphan.kind:<10} {orphan.size_bytes:>12}  {name}\n")
        count += 1
        size_bytes += orphan.size_bytes
    told = "deleted" if options.delete else "that nothing needs" + ("; --delete removes them" if count else "")
    sys.stdout.write(f"{count} files, {size_bytes / 1e6:.1f} MB, {told}\n")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
