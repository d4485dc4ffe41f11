"""``sink.c2pa``: where certificates and key for signatures are; the key itself is never part of a configuration."""

import os
import re
from collections.abc import Mapping
from typing import Any

from pipeline.errors import ConfigError

KEYS = CERTIFICATES, KEY = ("certificates", "key")
VARIABLE = "env:"  # before the name of an environment variable that holds the key
HIDDEN = "***"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def checked_signing(places: Mapping[str, Any]) -> dict[str, str]:
    """Return ``sink.c2pa`` with absolute paths; empty if results are not signed.

    Raises:
        ConfigError: a key is missing or unknown, or a value is no path; it is never repeated, since it may be a key.
    """
    if not places:
        return {}
    if unknown := sorted(map(str, places.keys() - {*KEYS})):
        raise ConfigError(f"sink.c2pa has the keys {' and '.join(KEYS)}, got {unknown[0]!r}")
    if missing := [name for name in KEYS if not places.get(name)]:
        raise ConfigError(f"sink.c2pa.{missing[0]} must be set to sign results")
    for name, place in places.items():
        if not isinstance(place, str) or "-----BEGIN" in place or "\n" in place:
            raise ConfigError(f"sink.c2pa.{name} must be the path of a PEM file{_OR_VARIABLE[name]}, not its content")
    key = places[KEY]
    if key.startswith(VARIABLE):
        if not _NAME.fullmatch(key.removeprefix(VARIABLE)):
            raise ConfigError("sink.c2pa.key must name an environment variable after env:, such as env:C2PA_KEY")
    else:
        key = _absolute(key)
    return {CERTIFICATES: _absolute(places[CERTIFICATES]), KEY: key}


_OR_VARIABLE = {CERTIFICATES: "", KEY: ", or env: with the name of an environment variable"}


def public_signing(places: Mapping[str, str]) -> dict[str, str]:
    """Return ``sink.c2pa`` as run files may have it."""
    return {**places, KEY: HIDDEN} if places else {}


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))
