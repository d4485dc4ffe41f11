"""Parses ``run.notify``, and hides its secrets."""

import re
import shlex
from typing import Any
from urllib.parse import urlsplit

from pipeline.errors import ConfigError

HIDDEN = "***"


def parse_notify(target: Any) -> str | list[str] | None:
    """Return ``run.notify`` as the URL of a webhook, or as a program with its arguments.

    Raises:
        ConfigError: it is neither.
    """
    if target is None:
        return None
    if isinstance(target, str) and target.lower().startswith(("http://", "https://")):
        if not _is_url(target):  # it may hold a token, so it is not repeated
            raise ConfigError(
                "run.notify must be a URL of ASCII without spaces, with a host and, if any, a port number"
            )
        return target
    try:
        words = shlex.split(target) if isinstance(target, str) else target
    except ValueError as error:
        raise ConfigError(f"run.notify is not a valid command: {error}") from error
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise ConfigError("run.notify must be null, an http(s) URL, a command, or a list of its words")
    return words


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        return bool(url.hostname) and url.port != 0 and text.isascii() and not re.search(r"[\s\x00-\x1f\x7f]", text)
    except ValueError:
        return False


def public_notify(target: Any) -> str | None:
    """Return the part that may be logged: the host, or the program; paths and arguments often hold tokens."""
    parsed = parse_notify(target)
    if parsed is None:
        return None
    if isinstance(parsed, str):
        url = urlsplit(parsed)
        host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname  # of IPv6
        return f"{url.scheme}://{host}{f':{url.port}' if url.port else ''}/{HIDDEN}"
    return shlex.join(parsed[:1]) + (f" {HIDDEN}" if parsed[1:] else "")
