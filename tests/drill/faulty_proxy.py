"""HTTP proxies before an S3 server that do to some requests what networks and other servers do."""

import contextlib
import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

REFUSED, SLOW, LATE = "refused with 503", "answered slowly", "done, but answered after the time-out"
READ_ONLY, STORM = "PUTs refused while read-only", "refused in storms of 503"
CUT, RESET, RESET_AFTER = "cut in the middle", "reset before an answer", "done, but reset before an answer"
USUAL = (REFUSED, SLOW, LATE)
SLOW_S = 1.0
_OWN_HEADERS = ("transfer-encoding", "connection", "content-length")  # those of each connection


@dataclass(frozen=True)
class Request:
    """What a client asks."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What a server answers.

    Args:
        status: of HTTP.
        content: the body.
        headers: by name.
        length: the announced length of the body, if it is not that of ``content``; the connection then ends early.
    """

    status: int
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None


ABORT = Answer(0)  # the connection is reset without an answer


def refusal(status: int, code: str, message: str = "refused by the test") -> Answer:
    """An error as S3 answers it."""
    content = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    return Answer(status, content, {"Content-Type": "application/xml"})


def ask(target: str, request: Request) -> Answer:
    """Forward a request to the host and port of a server."""
    connection = http.client.HTTPConnection(target, timeout=60)
    connection.request(request.method, request.path, request.body, request.headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    headers = {name: value for name, value in answer.getheaders() if name.lower() not in _OWN_HEADERS}
    length = int(answer.getheader("Content-Length") or 0) if request.method == "HEAD" else None
    return Answer(answer.status, content, headers, length)


Forward = Callable[[Request], Answer]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def shutdown_request(self, request: Any) -> None:
        """Close the connection without the end of stream that comes first by default: it may have to be reset."""
        self.close_request(request)


@contextlib.contextmanager
def proxy(upstream: str, meddle: Callable[[Request, Forward], Answer | None]) -> Iterator[str]:
    """Answer each request by ``meddle``, which may forward it to ``upstream``; yields the proxy's url.

    Args:
        upstream: url of the server.
        meddle: called in several threads; ``None`` ends the connection without an answer, ``ABORT`` resets it.
    """
    target = urlsplit(upstream).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, self.path, dict(self.headers), body)
            answer = meddle(request, lambda asked: ask(target, asked))
            if answer is None or answer is ABORT:
                self.close_connection = True
                if answer is ABORT:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.content) if answer.length is None else answer.length))
            self.end_headers()
            self.wfile.write(answer.content)  # nothing after HEAD
            self.close_connection = self.command != "HEAD" and answer.length is not None

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = serve

        def log_message(self, *arguments: object) -> None:
            pass

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):  # clients that were killed
                super().handle()

    server = _Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Weather(Enum):
    """Faults that requests meet for a while, beside the usual ones."""

    FAIR = "nothing else"
    READ_ONLY = "every PUT is refused with 503"
    STORM = "every request is refused with 503"
    CUTTING = "half of the bodies are cut in the middle"
    RESETTING = "half of the connections are reset, before or after the request was done"


@contextlib.contextmanager
def faulty_proxy(
    upstream: str, fraction: float, timeout_s: float, seed: int, weather: Callable[[], Weather] = lambda: Weather.FAIR
) -> Iterator[tuple[str, Counter[str]]]:
    """Forward to ``upstream``, with usual faults in a ``fraction`` of the requests, and the faults of the weather.

    Yields:
        The proxy's url, and how many requests met which fault.
    """
    faults, dice, lock = Counter[str](), random.Random(seed), threading.Lock()

    def draw(method: str) -> str | None:
        now = weather()
        with lock:
            faults["requests"] += 1
            usual = dice.choice(USUAL) if dice.random() < fraction else None
            fault = _fault_of(now, method, dice.random()) or usual
            if fault:
                faults[fault] += 1
        return fault

    def meddle(request: Request, forward: Forward) -> Answer | None:
        fault = draw(request.method)
        if fault in (REFUSED, READ_ONLY, STORM):
            return Answer(503)
        if fault == RESET:
            return ABORT
        if fault == SLOW:
            time.sleep(SLOW_S)
        answer = forward(request)
        if fault == LATE:  # the server has done it, the client will not know
            time.sleep(timeout_s + 1)
            return None
        if fault == RESET_AFTER:
            return ABORT
        return cut(answer, announced=True) if fault == CUT else answer

    with proxy(upstream, meddle) as url:
        yield url, faults


def _fault_of(weather: Weather, method: str, chance: float) -> str | None:
    if weather is Weather.STORM:
        return STORM
    if weather is Weather.READ_ONLY and method == "PUT":
        return READ_ONLY
    if weather is Weather.CUTTING and method == "GET" and chance < 0.5:
        return CUT
    if weather is Weather.RESETTING and chance < 0.5:
        return RESET if chance < 0.25 else RESET_AFTER
    return None


def cut(answer: Answer, announced: bool) -> Answer:
    """The first half of an answer, with the length of the whole announced, or that of the half and no checksum."""
    half = answer.content[: len(answer.content) // 2]
    if announced:
        return replace(answer, content=half, length=len(answer.content))
    headers = {name: value for name, value in answer.headers.items() if "checksum" not in name.lower()}
    return replace(answer, content=half, headers=headers)
