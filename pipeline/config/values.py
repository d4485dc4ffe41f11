"""Checks of single values of a configuration."""

import os
from collections.abc import Collection
from urllib.parse import urlsplit

from pipeline.errors import ConfigError


def absolute_uri(uri: str, key: str) -> str:
    """A local path as an absolute one, since workers run elsewhere; any other uri as it is.

    Args:
        uri: a path or a uri.
        key: of the configuration, or argument of a command, that gives it.

    Raises:
        ConfigError: an empty uri, one without an origin, or one with credentials.
    """
    if not uri:
        raise ConfigError(f"{key} must not be empty")
    scheme, is_remote, rest = uri.partition("://")
    if is_remote and not rest.strip("/") and scheme not in ("file", "local", "memory"):
        raise ConfigError(f"{key} must name a bucket or a host behind {uri}")
    if "@" in urlsplit(uri).netloc:
        raise ConfigError(f"{key} must not hold a user name or password; put them into storage or the environment")
    return uri if is_remote else os.path.abspath(os.path.expanduser(uri))


def as_extension(text: str) -> str:
    """Normalize the extension of a member of a shard: the part of its name behind the sample's key."""
    return text.lower().removeprefix(".")


def choose(key: str, value: str, choices: Collection[str]) -> None:
    """Refuse a value that is not among the choices of a key.

    Raises:
        ConfigError: naming the choices.
    """
    if value not in choices:
        raise ConfigError(f"{key} must be one of {', '.join(choices)}, got {value!r}")
