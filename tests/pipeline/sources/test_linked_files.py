"""Uris in tables: where they may lead, with which credentials, and what is said of them."""

import base64
import json
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.job import JobConfig, LimitsConfig, MaskConfig, SinkConfig, SourceConfig
from pipeline.errors import SampleError
from pipeline.sources.linked import LinkedFiles
from pipeline.sources.wanted import wanted_by
from pipeline.storage.storage import Storage
from tests.pipeline.flow_here import run_here
from tests.pipeline.scenarios.test_hostile_shards import IMAGE, MASK

USER = f"Basic {base64.b64encode(b'user:hush hush').decode()}"


class Photos(BaseHTTPRequestHandler):
    """A web server of one photo, which notes what it is asked for."""

    def do_GET(self):
        path = self.path.partition("?")[0]
        self.server.asked.append((path, self.headers.get("Authorization")))
        status = {"/gone.png": 404, "/closed.png": 403, "/busy.png": 503, "/away.png": 302, "/around.png": 302}.get(
            path, 200
        )
        self.send_response(status)
        if path == "/away.png":
            self.send_header("Location", self.server.elsewhere)
        if path == "/around.png":
            self.send_header("Location", "/my%20photo.png")
        body = IMAGE if status == 200 else b""
        if path != "/endless.png":
            self.send_header("Content-Length", str(len(body) + (path == "/cut.png")))
        self.end_headers()
        try:
            self.wfile.write(body if path != "/endless.png" else bytes(50_000_000))
        except ConnectionError:
            self.server.hung_up = True

    def log_message(self, *_):
        pass


@contextmanager
def web_server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Photos)
    server.asked, server.elsewhere, server.hung_up = [], "", False
    server.uri = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with web_server() as server:
        yield server


def rows_of(folder: Path, images: list[str], hosts: list[str]) -> list[dict]:
    """Manifest rows of a job over a local table of uris."""
    pq.write_table(pa.table({"image": images, "mask": [MASK] * len(images)}), folder / "x.parquet")
    job = JobConfig(
        source=SourceConfig("parquet", str(folder / "x.parquet"), hosts=hosts),
        mask=MaskConfig("column", column="mask"),
        sink=SinkConfig(uri=str(folder / "out")),
        limits=LimitsConfig(max_bytes=1_000_000, max_failed_fraction=1.0),
    )
    run_here(job)
    rows = pq.read_table(folder / "out" / "manifest").to_pylist()
    return sorted(rows, key=lambda row: row["sample_id"])


def test_uri_to_another_host_is_refused_without_a_request_unless_it_is_allowed(here, tmp_path, web):
    uris = [f"{web.uri}/my photo.png?sig=hush", f"http://localhost:{web.server_port}/a.png", "s3://other/a.png"]
    (tmp_path / "closed").mkdir()
    rows = rows_of(tmp_path / "closed", uris, hosts=[])
    assert {row["error_type"] for row in rows} == {"ForbiddenUri"}
    assert all("source.hosts" in row["error_message"] for row in rows)
    assert web.asked == []
    rows = rows_of(tmp_path, uris, hosts=[web.uri])
    assert [row["error_type"] for row in rows] == [None, "ForbiddenUri", "ForbiddenUri"]
    assert web.asked == [("/my%20photo.png", None)]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("gone.png", "FileNotFound"),
        ("closed.png", "PermissionDenied"),
        ("busy.png", "OSError"),
        ("cut.png", "OSError"),
        ("endless.png", "TooManyBytes"),
        ("away.png", "ForbiddenUri"),
        ("a b\nc.png", None),
    ],
)
def test_secrets_of_uris_reach_neither_manifest_nor_run_file(here, tmp_path, web, path, kind):
    web.elsewhere = f"http://localhost:{web.server_port}/secret?token=hush"
    uri = f"{web.uri}/{path}?X-Amz-Signature=hush&id=7".replace("//", "//user:hush%20hush@", 1)
    row, good = rows_of(tmp_path, [uri, uri.replace(path, "good.png")], hosts=[web.uri])
    assert good["status"] == "ok"  # by which the worker can show that it reads what can be read
    assert row["error_type"] == kind
    assert "id=7" in (row["error_message"] or "id=7") or kind == "TooManyBytes"
    said = json.dumps(row, default=str) + (tmp_path / "out" / "runs" / "run.json").read_text()
    assert "hush" not in said
    assert {user for _, user in web.asked} == {USER}
    assert not any(path.startswith("/secret") for path, _ in web.asked)


def test_redirect_is_followed_to_allowed_hosts_without_the_password(here, tmp_path, web):
    with web_server() as other:
        web.elsewhere = f"{other.uri}/a.png"
        uris = [f"{web.uri}/around.png", f"{web.uri}/away.png".replace("//", "//user:hush%20hush@")]
        assert [row["error_type"] for row in rows_of(tmp_path, uris, hosts=[web.uri, other.uri])] == [None, None]
        assert other.asked == [("/a.png", None)]


def test_bucket_beside_the_source_needs_to_be_allowed(s3_server, tmp_path):
    Storage(f"s3://bucket/{tmp_path.name}", s3_server).write("a.png", IMAGE)
    uri = f"s3://bucket/{tmp_path.name}/a.png"
    own = JobConfig(source=SourceConfig("parquet", "s3://bucket/elsewhere"), storage=s3_server)
    assert read(own, uri) == read(own, uri.replace("s3:", "S3:")) == IMAGE
    other = replace(own, source=SourceConfig("parquet", "s3://other/table"))
    assert read(other, uri) == "ForbiddenUri"
    assert read(replace(other, source=replace(other.source, hosts=["s3://bucket"])), uri) == IMAGE


@pytest.mark.parametrize(
    "name", ["a b.png", "a#b.png", "a?b=c.png", "100%.png", "a+b.png", "a%20b.png", "x y/#?/a&b;c.png", "ä.png"]
)
def test_object_of_any_name_is_found_by_its_uri_and_relative_to_the_source(s3_server, tmp_path, name):
    table = f"s3://bucket/{tmp_path.name}"
    Storage(table, s3_server).write(name, name.encode())
    job = JobConfig(source=SourceConfig("parquet", table), storage=s3_server)
    assert read(job, f"{table}/{name}") == read(job, name) == name.encode()


@pytest.mark.parametrize("way", ["file://{}", "FILE://{}", "file:{}", "file://localhost{}", "local://{}", "{}"])
def test_file_uri_leads_to_its_file_escaped_or_not(tmp_path, way):
    job = JobConfig(source=SourceConfig("parquet", str(tmp_path)))
    (tmp_path / "a b#?.png").write_bytes(b"escaped")
    (tmp_path / "100%25.png").write_bytes(b"as it is")
    assert read(job, way.format(tmp_path / "a b#?.png")) == b"escaped"
    assert read(job, way.format(tmp_path / "100%25.png")) == b"as it is"
    if way != "{}":  # a path is no uri, and nothing in it is escaped
        assert read(job, way.format(tmp_path / "a%20b%23%3F.png")) == b"escaped"
    assert read(job, way.format(tmp_path / "a%20c.png")) == "FileNotFound"


def read(job: JobConfig, uri: str) -> bytes | str:
    try:
        return LinkedFiles(wanted_by(job), Storage(job.source.uri, job.storage)).read("read", uri)
    except SampleError as error:
        return error.kind


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/hostname",
        "file:/etc/hostname",
        "LOCAL:///etc/hostname",
        "simplecache::file:///etc/hostname",
        "a" * 9000,
    ],
)
def test_remote_table_leads_to_no_file_of_a_worker(uri):
    assert read(JobConfig(source=SourceConfig("parquet", "memory://table")), uri) in ("ForbiddenUri", "UnusableName")
