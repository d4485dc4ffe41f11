"""Notifies a program or a webhook that a run has ended, with the run's JSON."""

import base64
import contextlib
import logging
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline.config.notify import parse_notify, public_notify
from pipeline.errors import ConfigError

WEB_TIMEOUT_S = 10.0
WEB_PAUSES_S = (1.0, 5.0)  # before another try, where the server is away or has too much to do
WEB_PASSING = (429, 500, 502, 503, 504)  # such answers
PROGRAM_TIMEOUT_S = 60.0

Document = Callable[[], bytes]

logger = logging.getLogger(__name__)


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
                logger.warning("run.notify (%s) failed: %s", public_notify(target), _reason(error))


def _send(target: str | list[str], document: bytes) -> None:
    if isinstance(target, str):
        _post(target, document)
    else:
        quiet = subprocess.DEVNULL  # a pipe would wait for whatever the program leaves running, too
        subprocess.run(target, input=document, stdout=quiet, stderr=quiet, check=True, timeout=PROGRAM_TIMEOUT_S)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: a redirected POST would become a GET without the document, perhaps to a host nobody named."""

    def redirect_request(self, *_: object) -> None:
        return None


def _post(url: str, document: bytes) -> None:
    headers = {"Content-Type": "application/json", "User-Agent": "moebius"}
    parts = urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    if at:  # urllib would take it for a part of the host's name
        headers["Authorization"] = f"Basic {base64.b64encode(unquote(login).encode()).decode()}"
    request = urllib.request.Request(parts._replace(netloc=host).geturl(), document, headers, method="POST")
    for pause_s in (*WEB_PAUSES_S, None):
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=WEB_TIMEOUT_S):
                return
        except OSError as error:  # HTTPError is one, too
            if pause_s is None or (isinstance(error, urllib.error.HTTPError) and error.code not in WEB_PASSING):
                raise
            time.sleep(pause_s)


def _reason(error: Exception) -> str:
    """Describe an error without its own text, which holds the URL or the arguments."""
    if isinstance(error, urllib.error.HTTPError):
        return f"it answered {error.code}"
    if isinstance(error, urllib.error.URLError):
        return type(error.reason).__name__ if isinstance(error.reason, Exception) else "it cannot be reached"
    if isinstance(error, subprocess.TimeoutExpired):
        return f"it took more than {PROGRAM_TIMEOUT_S:g} s"
    if isinstance(error, subprocess.CalledProcessError):
        return f"it ended with exit code {error.returncode}"
    return type(error).__name__
