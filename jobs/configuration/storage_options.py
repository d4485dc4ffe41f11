"""Storage options on a command line: text, but for switches."""

from collections.abc import Sequence

from pipeline.errors import ConfigError

SWITCHES = ("true", "false")


def parse_storage_options(given: Sequence[str]) -> dict[str, str | bool]:
    """Parse ``key=value`` options; ``true`` and ``false`` become booleans.

    Raises:
        ConfigError: an option is not ``key=value``; the message does not repeat it, since it may be a secret.
    """
    if not all("=" in option for option in given):
        raise ConfigError("--storage takes options of the form key=value")
    pairs = dict(option.split("=", 1) for option in given)
    return {key: value.lower() == "true" if value.lower() in SWITCHES else value for key, value in pairs.items()}
