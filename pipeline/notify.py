"""Tells others that a run has ended: a program reads the run's JSON, or a web server is sent it."""

import contextlib
import logging
import re
import shlex
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from pipeline.errors import ConfigError

WEB_TIMEOUT_S = 10.0
PROGRAM_TIMEOUT_S = 60.0
HIDDEN = "***"

Document = Callable[[], bytes]

logger = logging.getLogger(__name__)


def parse_notify(target: Any) -> str | list[str] | None:
    """``run.notify`` as the URL of a webhook or as a program with its arguments.

    Raises:
        ConfigError: it is neither.
    """
    if target is None:
        return None
    if isinstance(target, str) and target.startswith(("http://", "https://")):
        if not _is_url(target):  # it may hold a token, so it is not repeated
            raise ConfigError("run.notify must be a URL with a host, a port that is a number if any, and no spaces")
        return target
    try:
        words = shlex.split(target) if isinstance(target, str) else target
    except ValueError as error:
        raise ConfigError(f"run.notify is no command: {error}") from error
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise ConfigError("run.notify must be null, an http(s) URL, a command, or a list of its words")
    return words


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        return bool(url.hostname) and url.port != 0 and not re.search(r"[\s\x00-\x1f\x7f]", text)
    except ValueError:
        return False


def public_notify(target: Any) -> str | None:
    """What may be told of it: the host, or the program; paths and arguments often hold tokens."""
    parsed = parse_notify(target)
    if parsed is None:
        return None
    if isinstance(parsed, str):
        url = urlsplit(parsed)
        host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname  # of IPv6
        return f"{url.scheme}://{host}{f':{url.port}' if url.port else ''}/{HIDDEN}"
    return shlex.join(parsed[:1]) + (f" {HIDDEN}" if parsed[1:] else "")


@contextlib.contextmanager
def notified(target: Any) -> Iterator[list[Document]]:
    """Notify when the block ends, however it does; never fail because of it.

    Yields:
        A list to put into what is to be sent, once that is known; left empty, nothing is sent.

    Raises:
        ConfigError: there is no such program.
    """
    parsed = parse_notify(target)
    if isinstance(parsed, list) and not shutil.which(parsed[0]):
        raise ConfigError(f"run.notify: no program {parsed[0]!r} on this machine")
    documents: list[Document] = []
    try:
        yield documents
    finally:
        if parsed is not None and documents:
            try:
                _send(parsed, documents[-1]())
            except Exception as error:  # noqa: BLE001 - whatever a server answers, the run has ended as it has
                logger.warning("run.notify (%s) did not work: %s", public_notify(target), _reason(error))


def _send(target: str | list[str], document: bytes) -> None:
    if isinstance(target, str):
        _post(target, document)
    else:
        subprocess.run(target, input=document, capture_output=True, check=True, timeout=PROGRAM_TIMEOUT_S)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET without the document, and perhaps at a host that nobody named."""

    def redirect_request(self, *_: object) -> None:
        return None


def _post(url: str, document: bytes) -> None:
    headers = {"Content-Type": "application/json", "User-Agent": "moebius"}
    request = urllib.request.Request(url, document, headers, method="POST")
    with urllib.request.build_opener(_NoRedirect).open(request, timeout=WEB_TIMEOUT_S):
        pass


def _reason(error: Exception) -> str:
    """Without the URL or the arguments, which the texts of these errors hold."""
    if isinstance(error, urllib.error.HTTPError):
        return f"it answered {error.code}"
    if isinstance(error, urllib.error.URLError):
        return type(error.reason).__name__ if isinstance(error.reason, Exception) else "it cannot be reached"
    if isinstance(error, subprocess.TimeoutExpired):
        return f"it took more than {error.timeout:g} s"
    if isinstance(error, subprocess.CalledProcessError):
        return f"it ended with exit code {error.returncode}"
    return type(error).__name__
