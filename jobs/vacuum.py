"""``moebius vacuum SINK [--delete]``: list or delete the unused files of a sink."""

import argparse
import sys
from collections.abc import Sequence

from jobs.cli.arguments import add_sink
from jobs.cli.exit_codes import DONE
from jobs.cli.parser import new_parser
from jobs.cli.sink import change_sink, opened_sink


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments, list unused files, and delete them if asked to."""
    parser = new_parser(
        "vacuum",
        "List the unused files of a sink: results that no row of the manifest names, files left half-written by killed "
        "processes, and replaced parts of the manifest. Only data/, manifest/ and .staging/ are examined; the command "
        "refuses a sink that a run holds.",
    )
    add_sink(parser)
    parser.add_argument("--delete", action="store_true", help="delete the files; the default is to list them only")
    options = parser.parse_args(arguments)
    return change_sink("vacuum", lambda run_id: _vacuum(options, run_id))


def _vacuum(options: argparse.Namespace, run_id: str) -> int:
    from pipeline.maintenance.vacuum import delete_orphans, find_orphans

    sink, _ = opened_sink(options)
    count = size_bytes = 0
    for orphan in (delete_orphans if options.delete else find_orphans)(sink, run_id):
        name = orphan.key if orphan.key.isprintable() else ascii(orphan.key)
        sys.stdout.write(f"{orphan.kind:<10} {orphan.size_bytes:>12}  {name}\n")
        count += 1
        size_bytes += orphan.size_bytes
    outcome = "deleted" if options.delete else "unused" + ("; --delete removes them" if count else "")
    sys.stdout.write(f"{count} files, {size_bytes / 1e6:.1f} MB, {outcome}\n")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
