"""Reads http(s) uris of a table: without the job's credentials, and only from allowed hosts."""

import base64
import http.client
import time
import urllib.error
import urllib.request
from email.message import Message
from typing import IO
from urllib.parse import quote, unquote, urlsplit

from pipeline.errors import SampleError
from pipeline.sources.inputs import too_many_bytes
from pipeline.uris import AllowedOrigins, origin_of, public_text, public_uri

TIMEOUT_S = 60.0  # without a byte
DEADLINE_S = 600.0  # of a whole file
BLOCK_BYTES = 1 << 20
_ESCAPED = "/%:@!$&'()*+,;=~?"  # is left as it is
_GONE, _FORBIDDEN, _PASSING = (404, 410), (401, 403, 407), (408, 425, 429)


class HttpFiles:
    """Fetches whole files.

    Args:
        allowed: permitted hosts; redirects to others are refused.
        max_bytes: of a file.
    """

    def __init__(self, allowed: AllowedOrigins, max_bytes: int) -> None:
        self._allowed, self._max_bytes = allowed, max_bytes

    def read(self, stage: str, uri: str) -> bytes:
        """Return the content of a file.

        Raises:
            SampleError: it is missing, not permitted, too large, or redirected to a host that is not allowed.
            OSError: the server does not answer.
        """
        opener = urllib.request.build_opener(_AllowedRedirects(stage, uri, self._allowed))
        try:
            with opener.open(_request(uri), timeout=TIMEOUT_S) as answer:
                return self._body(answer)
        except urllib.error.HTTPError as error:
            raise _refusal(stage, uri, error.code) from error
        except http.client.InvalidURL as error:
            raise SampleError(stage, "UnusableName", f"{public_uri(uri)}: {error}") from error
        except (http.client.HTTPException, OSError, EOFError) as error:
            raise OSError(public_text(f"{public_uri(uri)}: {type(error).__name__}: {error}")) from error

    def _body(self, answer: http.client.HTTPResponse) -> bytes:
        announced_bytes = answer.length or 0
        if refusal := too_many_bytes(announced_bytes, self._max_bytes):
            raise refusal
        body, started = bytearray(), time.monotonic()
        while block := answer.read(BLOCK_BYTES):
            body += block
            if refusal := too_many_bytes(len(body), self._max_bytes):
                raise refusal
            if time.monotonic() - started > DEADLINE_S:
                raise TimeoutError(f"{len(body)} bytes in {DEADLINE_S:.0f} s")
        if len(body) < announced_bytes:
            raise EOFError(f"received {len(body)} of {announced_bytes} bytes")
        return bytes(body)


class _AllowedRedirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, stage: str, uri: str, allowed: AllowedOrigins) -> None:
        self._stage, self._uri, self._allowed = stage, uri, allowed

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        try:
            is_allowed = newurl in self._allowed
        except ValueError:
            is_allowed = False
        if not is_allowed:
            raise forbidden(self._stage, f"{public_uri(self._uri)} redirects to {public_uri(newurl)}, which", newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def forbidden(stage: str, subject: str, uri: str) -> SampleError:
    """Return the error of a uri whose origin is not allowed."""
    try:
        origin = origin_of(uri)
    except ValueError:
        origin = public_uri(uri)
    message = f"{subject} is neither in the source's own bucket or host nor in source.hosts"
    return SampleError(stage, "ForbiddenUri", f"{message}; if it is meant, add {origin} to source.hosts")


def _refusal(stage: str, uri: str, status: int) -> Exception:
    if status in _GONE:
        return SampleError(stage, "FileNotFound", f"{public_uri(uri)} does not exist: status {status}")
    if status in _FORBIDDEN:
        return SampleError(stage, "PermissionDenied", f"no permission to read {public_uri(uri)}: status {status}")
    if status in _PASSING or status >= 500:
        return OSError(f"{public_uri(uri)}: status {status}")
    return SampleError(stage, "UnusableName", f"{public_uri(uri)} is refused by its server: status {status}")


def _request(uri: str) -> urllib.request.Request:
    """Build a request to exactly the checked host, with the uri's user, which is not sent to other hosts."""
    parts, host = urlsplit(uri), origin_of(uri)
    path, query = quote(parts.path or "/", _ESCAPED), quote(parts.query, _ESCAPED)
    request = urllib.request.Request(f"{host}{path}?{query}" if query else f"{host}{path}")
    request.add_header("User-Agent", "moebius")
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(user).decode()}")
    return request
