"""Builds the parser of a command."""

import argparse
import shutil
import textwrap

from jobs.cli.exit_codes import EXIT_CODES


def new_parser(command: str, description: str) -> argparse.ArgumentParser:
    """A parser whose help ends with the exit codes, one line each as they are written."""
    width = shutil.get_terminal_size().columns - 2  # as argparse, which does not wrap where line breaks are kept
    return argparse.ArgumentParser(
        prog=f"moebius {command}",
        description=textwrap.fill(description, width),
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
