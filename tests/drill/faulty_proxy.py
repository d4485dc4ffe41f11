"""An HTTP proxy before an S3 server that does to some requests what networks do."""

import contextlib
import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

REFUSED, SLOW, LATE = "refused with 503", "answered slowly", "done, but answered after the time-out"
SLOW_S = 1.0


def ask(
    target: str, method: str, path: str, body: bytes, headers: dict[str, str]
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(target, timeout=60)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


@contextlib.contextmanager
def faulty_proxy(upstream: str, fraction: float, timeout_s: float, seed: int) -> Iterator[tuple[str, Counter[str]]]:
    """Forward to ``upstream``; yields the proxy's url and what it has done to a ``fraction`` of the requests."""
    target, faults, dice, lock = urlsplit(upstream).netloc, Counter[str](), random.Random(seed), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                faults["requests"] += 1
                fault = dice.choice((REFUSED, SLOW, LATE)) if dice.random() < fraction else None
                if fault:
                    faults[fault] += 1
            if fault == REFUSED:
                self.send_error(503)
                return
            if fault == SLOW:
                time.sleep(SLOW_S)
            answer, content = ask(target, self.command, self.path, body, dict(self.headers))
            if fault == LATE:  # the server has done it, the client will not know
                time.sleep(timeout_s + 1)
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else len(content)
            self.send_header("Content-Length", str(length or 0))
            self.end_headers()
            self.wfile.write(content)  # nothing after HEAD

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward

        def log_message(self, *arguments: object) -> None:
            pass

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):  # clients that were killed
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", faults
    finally:
        server.shutdown()
