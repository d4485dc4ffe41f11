"""Who is told that a run has ended, with real programs and a real web server."""

import base64
import json
import logging
import shlex
import socket
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import pipeline.cluster.notify
from pipeline.cluster.notify import notified, parse_notify, public_notify
from pipeline.config.job import JobConfig, ModelConfig, RunConfig
from pipeline.config.public import public_configuration
from pipeline.errors import ConfigError, JobError
from pipeline.executor.base import Executor
from tests.conftest import make_photos
from tests.pipeline.flow_here import HERE, BeforeWork, run_here
from tests.pipeline.scenarios.test_run import job

TOKEN = "T0KEN"


@contextmanager
def web_server(status: int = 204, delay_s: float = 0.0, refusals: int = 0):
    """URL of a local server, and what it was sent: path, content type, body, credentials."""
    received, stopped = [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers["Content-Type"], body, self.headers["Authorization"]))
            stopped.wait(delay_s)
            self.send_response(status if len(received) > refusals else 503)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hooks/{TOKEN}", received
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def config(here, tmp_path, tiny_weights) -> JobConfig:
    make_photos(tmp_path, count=3)
    return job(tmp_path, tiny_weights)


def notify(config: JobConfig, target: object, run_id: str = "run", executor: Executor = HERE):
    return run_here(replace(config, run=RunConfig(notify=target)), run_id, executor=executor)


def test_webhook_is_sent_the_file_of_the_run(config, tmp_path):
    with web_server() as (url, received):
        notify(config, url)
    ((path, kind, body, _),) = received
    assert path == f"/hooks/{TOKEN}" and kind == "application/json"
    assert body == (tmp_path / "out" / "runs" / "run.json").read_bytes()
    told = json.loads(body)
    assert told["state"] == "ended" and told["samples"]["ok"] == 3 and told["timings"]["run_s"] > 0
    assert TOKEN not in body.decode() and told["configuration"]["run"]["notify"].endswith("/***")


@pytest.mark.parametrize("as_list", [True, False])
def test_program_reads_the_file_of_the_run_without_a_shell(config, tmp_path, as_list):
    copy = tmp_path / "it's $HOME; copied.json"
    words = [sys.executable, "-c", "import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())", str(copy)]
    notify(config, words if as_list else shlex.join(words))
    assert copy.read_bytes() == (tmp_path / "out" / "runs" / "run.json").read_bytes()


def test_job_that_fails_or_is_stopped_says_so_and_why(config, tmp_path):
    def never():
        raise error

    with web_server() as (url, received):
        for error, state in ((JobError("the workers do not work"), "failed"), (KeyboardInterrupt(), "stopped")):
            with pytest.raises(type(error)):
                notify(config, url, state, BeforeWork(never))
            told = json.loads(received.pop()[2])
            assert told["state"] == state and told["reason"] == (str(error) or None)
            assert told == json.loads((tmp_path / "out" / "runs" / f"{state}.json").read_text())
    assert not received


def fails(*more: str) -> list[str]:
    return [sys.executable, "-c", *more]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (fails("import sys; sys.exit('no')", TOKEN), "ended with exit code 1"),
        (fails("import time; time.sleep(60)", TOKEN), "took more than 2 s"),
        (f"http://127.0.0.1:9/{TOKEN}", "ConnectionRefusedError"),
        (500, "answered 500"),
        (302, "answered 302"),
        (0, "TimeoutError"),
    ],
)
def test_what_does_not_work_is_a_warning_without_secrets(caplog, monkeypatch, target, reason):
    monkeypatch.setattr(pipeline.cluster.notify, "PROGRAM_TIMEOUT_S", 2.0)
    monkeypatch.setattr(pipeline.cluster.notify, "WEB_TIMEOUT_S", 0.5)
    monkeypatch.setattr(pipeline.cluster.notify, "WEB_PAUSES_S", (0.0,))
    caplog.set_level(logging.DEBUG)
    with web_server(target or 204, 0 if target else 60) as (url, received):
        with notified(url if isinstance(target, int) else target) as documents:
            documents.append(lambda: b"{}")
        assert len(received) == {500: 2, 302: 1, 0: 2}.get(target, 0) if isinstance(target, int) else not received
    (message,) = [record.getMessage() for record in caplog.records if record.name == "pipeline.cluster.notify"]
    assert reason in message and TOKEN not in caplog.text


def test_server_that_is_away_for_a_moment_is_asked_again(monkeypatch, caplog):
    monkeypatch.setattr(pipeline.cluster.notify, "WEB_PAUSES_S", (0.0, 0.0))
    with web_server(refusals=2) as (url, received), notified(url) as documents:
        documents.append(lambda: b"{}")
    assert [body for _, _, body, _ in received] == [b"{}"] * 3 and not caplog.messages


def test_user_name_and_password_of_a_url_are_sent_as_such(caplog):
    secret = f"us%40er:{TOKEN}@"
    with web_server() as (url, received), notified(url.replace("//", f"//{secret}")) as documents:
        documents.append(lambda: b"{}")
    ((path, *_, credentials),) = received
    assert path == f"/hooks/{TOKEN}" and base64.b64decode(credentials.removeprefix("Basic ")) == b"us@er:T0KEN"
    assert not caplog.messages


def test_what_a_program_leaves_running_is_not_waited_for():
    started = time.monotonic()
    with notified(["sh", "-c", "sleep 20 & exit 0"]) as documents:
        documents.append(lambda: b"{}")
    assert time.monotonic() - started < 10


def test_answer_that_is_no_http_is_a_warning_too(caplog, monkeypatch):
    monkeypatch.setattr(pipeline.cluster.notify, "WEB_PAUSES_S", ())
    caplog.set_level(logging.WARNING)  # whatever level other tests left
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: server.accept()[0].sendall(b"hello\r\n"), daemon=True)
        thread.start()
        with notified(f"http://127.0.0.1:{server.getsockname()[1]}/{TOKEN}") as documents:
            documents.append(lambda: b"{}")
        thread.join()
    assert "run.notify" in caplog.text and TOKEN not in caplog.text


def test_nothing_is_sent_where_nothing_was_begun(config, tmp_path):
    with web_server() as (url, received):
        with pytest.raises(Exception, match="found none at"):
            notify(replace(config, model=ModelConfig(weights="/nowhere")), url)
        assert not received


@pytest.mark.parametrize(
    "target",
    [
        "",
        [],
        "a 'b",
        {"a": 1},
        7,
        [1],
        "http://",
        "https:///path",
        "http://h:abc/x",
        "http://[::1",
        "https://h/a b",
        "https://h/ü",
    ],
)
def test_target_that_is_none_is_a_configuration_error(target):
    with pytest.raises(ConfigError, match=r"run\.notify"):
        RunConfig(notify=target)


def test_program_that_is_not_there_is_told_before_the_run():
    with pytest.raises(ConfigError, match="no program 'no-such-program'"), notified("no-such-program now"):
        pytest.fail("it has begun")


@pytest.mark.parametrize(
    ("target", "public"),
    [
        ("https://user:secret@hooks.example.com:8443/T0KEN?key=T0KEN", "https://hooks.example.com:8443/***"),
        ("http://[::1]:80/x", "http://[::1]:80/***"),
        ("curl -H 'Authorization: T0KEN' -d @- https://x", "curl ***"),
        (["/opt/my tool"], "'/opt/my tool'"),
        (None, None),
    ],
)
def test_public_form_hides_paths_and_arguments_and_is_a_target_again(target, public):
    assert public_notify(target) == public
    config = JobConfig(run=RunConfig(notify=target))
    assert public_configuration(config)["run"]["notify"] == public
    assert TOKEN not in repr(config) and "secret" not in repr(config)
    parse_notify(public)
