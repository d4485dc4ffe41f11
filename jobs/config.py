"""``moebius config CONFIG [key=value …]``: the effective configuration, and where each value comes from."""

import argparse
import os
import sys
from collections.abc import Sequence

from jobs.cli import DONE, EXIT_CODES, run_command
from jobs.configuration import Loaded, load_with_origins
from jobs.reference import one_line, reference_page
from pipeline.config.job import JobConfig, public_configuration
from pipeline.errors import ConfigError

ORIGIN_COLUMN = 36  # where comments stand, if the value leaves room
_RAY_ADDRESS = "RAY_ADDRESS"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, merge, print."""
    parser = argparse.ArgumentParser(
        prog="moebius config",
        description="Print the effective configuration of an inpainting job as YAML, each value with where it comes "
        "from: default, file and line, override, or the environment. Storage options are hidden.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", metavar="CONFIG", nargs="?", help="YAML file such as conf/cluster.yaml")
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="override a key, e.g. run.actors=4")
    parser.add_argument(
        "--reference", action="store_true", help="print docs/reference/configuration.md: every key there is"
    )
    options = parser.parse_args(arguments)
    return run_command(lambda: _config(options))


def _config(options: argparse.Namespace) -> int:
    if options.reference:
        sys.stdout.write(reference_page())
        return DONE
    if options.config is None:
        raise ConfigError("CONFIG is missing: name a YAML file, or --reference for every key there is")
    sys.stdout.write(effective(load_with_origins(options.config, options.overrides)))
    return DONE


def effective(loaded: Loaded[JobConfig]) -> str:
    """A configuration as YAML, with the origin of each value as a comment."""
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
