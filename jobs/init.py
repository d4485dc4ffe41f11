"""``moebius init [FILE]``: write a commented configuration to start from."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.cli.arguments import check_writable
from jobs.cli.execute import run_command
from jobs.cli.exit_codes import DONE
from jobs.cli.parser import new_parser

TEMPLATE = Path(__file__).parent / "configuration" / "inpaint.yaml"  # conf/inpaint.yaml


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments and write the file."""
    parser = new_parser(
        "init", "Write a configuration that states every key with its default and marks those to set first."
    )
    parser.add_argument(
        "file",
        metavar="FILE",
        type=Path,
        nargs="?",
        default=Path(TEMPLATE.name),
        help=f"file to write ({TEMPLATE.name})",
    )
    parser.add_argument("--force", action="store_true", help="replace FILE")
    options = parser.parse_args(arguments)
    return run_command(lambda: _init(options))


def _init(options: argparse.Namespace) -> int:
    path = options.file
    check_writable(path, options.force)
    path.write_bytes(TEMPLATE.read_bytes())
    sys.stdout.write(f"{path}: set the keys marked SET, then check with moebius plan {path}\n")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
