"""Storage options on a command line: text, but for switches."""

from collections.abc import Sequence

from pipeline.errors import ConfigError

SWITCHES = ("true", "false")


def parse_storage_options(given: Sequence[str], option: str = "--storage") -> dict[str, str | bool]:
    """Parse ``key=value`` options; ``true`` and ``false`` become booleans.

    Args:
        given: what follows the option, each time that it is given.
        option: for messages.

    Raises:
        ConfigError: an option is not ``key=value``; the message does not repeat it, since it may be a secret.
    """
    if not all("=" in pair for pair in given):
        raise ConfigError(f"{option} takes options of the form key=value")
    pairs = dict(pair.split("=", 1) for pair in given)
    return {key: value.lower() == "true" if value.lower() in SWITCHES else value for key, value in pairs.items()}
