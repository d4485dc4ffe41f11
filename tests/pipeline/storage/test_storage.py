import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from botocore.exceptions import NoCredentialsError

import pipeline.storage.backends.local
import pipeline.storage.local
import pipeline.storage.s3
from pipeline.errors import ConfigError, SampleError
from pipeline.sources.inputs import read_file
from pipeline.storage.errors import CredentialsError, answering, usable
from pipeline.storage.local import STAGING, sync_all
from pipeline.storage.storage import Storage
from pipeline.storage.weights import fetch_weights


@pytest.fixture(params=["local", "memory", "s3"])
def storage(request, tmp_path):
    if request.param == "local":
        return Storage(str(tmp_path))
    if request.param == "memory":
        return Storage(f"memory://{tmp_path.name}")
    return Storage(f"s3://bucket/{tmp_path.name}", request.getfixturevalue("s3_server"))


def test_write_replaces_and_read_returns(storage):
    storage.write("data/a b/ü#?.bin", b"one")
    storage.write("data/a b/ü#?.bin", b"two")
    assert storage.read("data/a b/ü#?.bin") == b"two"
    assert [(file.key, file.size_bytes) for file in storage.list_files("data")] == [("data/a b/ü#?.bin", 3)]


def test_create_is_exclusive(storage):
    storage.create("manifest/part", b"first")
    with pytest.raises(FileExistsError):
        storage.create("manifest/part", b"second")
    assert storage.read("manifest/part") == b"first"


def test_version_changes_with_the_content(storage):
    storage.write("x", b"aaa")
    before = storage.stat("x").version
    assert storage.stat("x").version == before
    storage.write("x", b"bbbb")
    assert storage.stat("x").version != before


def test_missing_file_and_delete(storage):
    with pytest.raises(FileNotFoundError):
        storage.read("none")
    storage.delete("none")
    storage.write("some", b"1")
    storage.delete("some")
    assert list(storage.list_files()) == []


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/etc/x", "a\\..\\x", "a\0b"])
def test_key_cannot_leave_the_root(storage, key):
    if storage.is_s3 and key.startswith("/"):
        assert storage.path(key) == f"{storage.root}/{key}"  # a folder without a name, below the root
        return
    with pytest.raises(ValueError, match="not a valid key below"):
        storage.write(key, b"")


def test_odd_names_are_names(tmp_path):
    storage = Storage(str(tmp_path / "a::b"))
    for name in ("x::y.png", "p%20q", "#1?", "d/" + "n" * 200):
        storage.write(name, name.encode())
    assert sorted(file.key for file in storage.list_files()) == sorted(["x::y.png", "p%20q", "#1?", "d/" + "n" * 200])
    assert storage.read("x::y.png") == b"x::y.png"
    assert (tmp_path / "a::b").is_dir()


def test_name_that_is_not_utf8_is_listed_escaped(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(b"x")
    storage = Storage(str(tmp_path))
    (file,) = storage.list_files()
    assert file.key == "caf\\xe9.png"
    with pytest.raises(ValueError, match="not a valid key below"):
        storage.read(file.key)


def test_links_are_what_they_lead_to(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.png").write_bytes(b"12")
    (tmp_path / "view").mkdir()
    (tmp_path / "view" / "file.png").symlink_to(tmp_path / "real" / "a.png")
    (tmp_path / "view" / "folder").symlink_to(tmp_path / "real")
    (tmp_path / "view" / "loop").symlink_to(tmp_path / "view")
    (tmp_path / "view" / "dead.png").symlink_to(tmp_path / "nowhere")
    found = {file.key: file.size_bytes for file in Storage(str(tmp_path / "view")).list_files()}
    assert found == {"file.png": 2, "folder/a.png": 2}


def test_server_that_does_not_answer_is_an_os_error(monkeypatch):
    monkeypatch.setattr(pipeline.storage.s3, "TRIES", 1)
    options = {"key": "k", "secret": "s", "endpoint_url": "http://127.0.0.1:9", "config_kwargs": {"retries": {}}}
    storage = Storage("s3://bucket/x", {**options, "client_kwargs": {"region_name": "us-east-1"}})
    storage.filesystem.retries = 1
    for action in (lambda: storage.read("a"), lambda: storage.write("a", b""), lambda: storage.create("a", b"")):
        with pytest.raises(OSError, match="Could not connect"):
            action()


def test_answer_of_another_client_than_that_of_s3_is_an_os_error():
    class Refused(OSError):
        """Error of a client whose answers are objects, as those of the Hugging Face hub are."""

    class Answered(Exception):
        response = object()

    with pytest.raises(Refused), answering():
        raise Refused("404 Client Error") from Answered()


def test_server_that_takes_connections_and_never_answers_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr(pipeline.storage.s3, "TRIES", 1)
    (tmp_path / "x").write_bytes(b"1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        options = {"key": "k", "secret": "s", "endpoint_url": url, "client_kwargs": {"region_name": "us-east-1"}}
        storage = Storage("s3://bucket/x", {**options, "config_kwargs": {"read_timeout": 0.2}})
        for action in (
            lambda: storage.read("a"),
            lambda: storage.write("a", b"1"),
            lambda: storage.create("a", b"1"),
            lambda: storage.upload("a", str(tmp_path / "x")),
        ):
            with pytest.raises(OSError, match="Read timeout"):
                action()


@contextmanager
def server_of(handler: type[BaseHTTPRequestHandler]):
    """Options of an S3 that answers as a handler does."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield {"key": "k", "secret": "s", "endpoint_url": url, "client_kwargs": {"region_name": "us-east-1"}}
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def refusing_server(status: int, code: str):
    """Options of an S3 that refuses everything, and the requests that it got."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            requests.append(self.command)
            self.send_response(status)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(f"<Error><Code>{code}</Code><Message>because</Message></Error>".encode())

        do_GET = do_PUT = do_HEAD = answer

        def log_message(self, *_):
            pass

    with server_of(Handler) as options:
        yield options, requests


def test_part_of_an_object_whose_body_breaks_off_comes_again():
    bodies = [b"ab", b"abc", b"abcd"]

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            self.send_header("ETag", '"etag"')
            self.send_header("Content-Length", "4")
            self.end_headers()

        def do_GET(self):
            assert self.headers["If-Match"] == '"etag"'
            self.do_HEAD()
            self.wfile.write(bodies.pop(0))

        def log_message(self, *_):
            pass

    with server_of(Handler) as options, Storage("s3://bucket/x", options).open("a") as file:
        assert file.read() == b"abcd"


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (500, "InternalError")])
def test_request_is_repeated_by_one_of_those_who_could_not_by_each_of_them(monkeypatch, status, code):
    monkeypatch.setattr(pipeline.storage.s3, "TRIES", 1)
    with refusing_server(status, code) as (options, requests):
        storage = Storage("s3://bucket/x", options)
        for action in (lambda: storage.read("a"), lambda: storage.write("a", b""), lambda: list(storage.list_files())):
            requests.clear()
            with pytest.raises(OSError, match="because"):
                action()
            assert len(requests) == 2


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "ExpiredToken"), (403, "RequestTimeTooSkewed"), (403, "InvalidAccessKeyId"), (403, "SignatureDoesNotMatch")],
)
def test_credentials_that_are_taken_no_more_are_no_fault_of_the_file(status, code):
    with refusing_server(status, code) as (options, _):
        storage = Storage("s3://bucket/x", options)
        with pytest.raises(CredentialsError, match=f"{code}: because"):  # may pass: a worker leaves it to a later pass
            read_file("read", storage, "a", None)
        for action in (storage.stat, storage.open, partial(storage.write, data=b"")):
            with pytest.raises(CredentialsError, match=code):
                action("a")
        with pytest.raises(ConfigError, match=f"^{code}: because$"), usable():
            list(storage.list_files())
    with refusing_server(403, "AccessDenied") as (options, _), pytest.raises(SampleError, match="PermissionDenied"):
        read_file("read", Storage("s3://bucket/x", options), "a", None)


def test_half_of_the_credentials_is_no_fault_of_the_file():
    storage = Storage("s3://bucket/x", {"key": "without a secret"})
    with pytest.raises(CredentialsError, match="Partial credentials"):
        read_file("read", storage, "a", None)


def test_weights_that_are_closed_to_us_are_a_fault_of_the_configuration():
    with refusing_server(403, "AccessDenied") as (options, _), pytest.raises(ConfigError, match="because: source"):
        fetch_weights("s3://bucket/weights", options)


def test_local_uri_is_a_plain_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storage = Storage("sink/")
    storage.write("data/x", b"1")
    assert storage.uri("data/x") == str(tmp_path / "sink/data/x")
    assert os.listdir(tmp_path / "sink" / STAGING) == []


def test_unknown_protocol_is_a_configuration_error():
    with pytest.raises(ConfigError, match="nope://"):
        Storage("nope://bucket/x")


def test_secrets_do_not_appear_in_text(s3_server):
    storage = Storage("s3://bucket/x", s3_server)
    assert s3_server["secret"] not in f"{storage} {storage.uri('k')}"


def test_bucket_of_more_objects_than_a_page_holds_is_listed_whole(s3_server, tmp_path):
    storage = Storage(f"s3://bucket/{tmp_path.name}", s3_server)
    names = [f"folder-{index % 3}/{index:04}" for index in range(1005)]
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda name: storage.write(name, b"x"), names))
    files = list(storage.list_files())
    assert sorted(file.key for file in files) == sorted(names)
    assert {file.size_bytes for file in files} == {1} and len({file.version for file in files}) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_disk_that_is_full_says_which_file_it_was(tmp_path, monkeypatch):
    full = partial(open, "/dev/full")
    monkeypatch.setattr(pipeline.storage.local, "open", lambda path, mode: full(mode), raising=False)
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}/data/x'"):
        Storage(str(tmp_path)).write("data/x", b"1" * 100_000)


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ({"bogus": 1}, "'bogus'"),
        ({"client_kwargs": {"bogus": 1}}, "'bogus'"),
        ({"endpoint_url": "s3.example.com"}, "Invalid endpoint: s3.example.com"),
        ({"client_kwargs": {"region_name": "eu west"}}, "'eu west'"),
        ({"username": "u"}, "Supply either key or username"),
    ],
)
def test_option_that_the_client_does_not_take_is_a_fault_of_the_configuration(option, reason):
    with pytest.raises(ConfigError, match=f"cannot open 's3://bucket/x': .*{reason}"):
        Storage("s3://bucket/x", {"key": "k", "secret": "s"} | option)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (FileNotFoundError("The specified bucket does not exist"), "^sink: The specified bucket does not exist$"),
        (PermissionError("Forbidden"), "^sink: Forbidden: source.uri, mask.uri, sink.uri or model.weights is not"),
        (IsADirectoryError(21, "Is a directory"), "^sink: Is a directory$"),
    ],
)
def test_place_that_cannot_be_used_is_a_fault_of_the_configuration(fault, message):
    with pytest.raises(ConfigError, match=message), usable("sink"):
        raise fault


def test_lack_of_credentials_says_what_to_set_and_is_a_fault_of_the_configuration():
    with pytest.raises(ConfigError, match="Unable to locate credentials: set AWS_ACCESS_KEY_ID"), usable(), answering():
        raise NoCredentialsError


def test_file_whose_unfinished_copy_another_run_clears_away_is_written_all_the_same(tmp_path, monkeypatch):
    storage, calls = Storage(str(tmp_path)), []

    def clear_and_sync(files):
        calls.append(files)
        if len(calls) == 1:
            storage.clear_staging()
        sync_all(files)

    monkeypatch.setattr(pipeline.storage.backends.local, "sync_all", clear_and_sync)
    storage.write("a", b"1")
    assert storage.read("a") == b"1" and len(calls) == 2
