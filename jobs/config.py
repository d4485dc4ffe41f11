"""``moebius config CONFIG [key=value …]``: print the effective configuration and the origin of each value."""

import argparse
import os
import sys
from collections.abc import Sequence

from jobs.cli.arguments import add_config, add_overrides
from jobs.cli.execute import run_command
from jobs.cli.exit_codes import DONE
from jobs.cli.parser import new_parser
from jobs.configuration.load import Loaded, load_with_origins
from jobs.configuration.reference import one_line, reference_page
from pipeline.config.job import JobConfig
from pipeline.config.public import public_configuration
from pipeline.errors import ConfigError

ORIGIN_COLUMN = 36  # of comments, unless the value is longer
_RAY_ADDRESS = "RAY_ADDRESS"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments, merge the layers, and print the result."""
    parser = new_parser(
        "config",
        "Print the effective configuration of an inpainting job as YAML, each value with its origin: default, file and "
        "line, override, or environment. Storage options are hidden.",
    )
    add_config(parser, "conf/cluster.yaml", optional=True)
    add_overrides(parser, "run.actors=4")
    parser.add_argument(
        "--reference", action="store_true", help="print docs/reference/configuration.md, which lists every key"
    )
    options = parser.parse_args(arguments)
    return run_command(lambda: _config(options))


def _config(options: argparse.Namespace) -> int:
    if options.reference:
        sys.stdout.write(reference_page())
        return DONE
    if options.config is None:
        raise ConfigError("CONFIG is missing: name a YAML file, or --reference for a list of every key")
    sys.stdout.write(effective(load_with_origins(options.config, options.overrides)))
    return DONE


def effective(loaded: Loaded[JobConfig]) -> str:
    """Format a configuration as YAML, with the origin of each value as a comment."""
    lines = []
    for section, values in public_configuration(loaded.config).items():
        lines.append(f"{section}:" if values else f"{section}: {{}}")
        for key, value in values.items():
            full = f"{section}.{key}"
            origin = loaded.origins.get(full) or loaded.origins.get(section) or "default"
            if full == "run.address" and value is None and os.environ.get(_RAY_ADDRESS):
                value, origin = os.environ[_RAY_ADDRESS], f"environment {_RAY_ADDRESS}"
            lines.append(f"{f'  {key}: {one_line(value)}':<{ORIGIN_COLUMN}} # {origin}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
