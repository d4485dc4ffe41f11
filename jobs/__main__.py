"""``moebius COMMAND …`` or ``python -m jobs COMMAND …``."""

import importlib
import sys
from collections.abc import Sequence

from jobs.cli.commands import COMMANDS, module_name
from jobs.cli.exit_codes import DONE, EXIT_CODES, WRONG_USAGE
from pipeline.version import VERSION


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``moebius COMMAND …`` and return its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments == ["--version"]:
        sys.stdout.write(f"moebius {VERSION}\n")
        return DONE
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(_usage())
        return DONE if arguments else WRONG_USAGE
    command, *rest = arguments
    if command not in COMMANDS:
        sys.stderr.write(f"moebius: no command {command!r}; there are {', '.join(COMMANDS)}\n")
        return WRONG_USAGE
    return importlib.import_module(module_name(command)).main(rest)


def _usage() -> str:
    lines = [f"  {name:<14} {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: moebius COMMAND [arguments]        (also: python -m jobs.COMMAND [arguments]; moebius --version)",
            "",
            "Batch image inpainting with the Moebius model on Ray.",
            "",
            *lines,
            "",
            "Run moebius COMMAND --help for the arguments of a command.",
            EXIT_CODES,
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
