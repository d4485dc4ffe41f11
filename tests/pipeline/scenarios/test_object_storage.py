"""Sources, masks and sinks on a real S3 server with credentials; what fails on the way, and what must not be told."""

import io
import logging
import re
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import pipeline.storage.s3
import pipeline.worker.actor
from pipeline.config.job import JobConfig, MaskConfig, SinkConfig, SourceConfig
from pipeline.errors import ConfigError
from pipeline.manifest.lease import Lease
from pipeline.manifest.log import Manifest
from pipeline.records import OK, Record, to_table
from pipeline.sinks.results import read_result
from pipeline.storage.errors import FileChangedError
from pipeline.storage.storage import Storage
from tests.drill.faulty_proxy import Request, cut, faulty_proxy, proxy, refusal
from tests.pipeline.flow_here import run_here
from tests.pipeline.scenarios.test_hostile_shards import IMAGE, MASK, pair, png, tar

COUNT = 12


@pytest.fixture
def bucket(tmp_path, s3_server) -> str:
    """A prefix with the same samples as files, in shards and in a table."""
    root = f"s3://bucket/{tmp_path.name}"
    storage = Storage(root, s3_server)
    for index in range(COUNT):
        storage.write(f"photos/{index:02}.png", IMAGE)
        storage.write(f"masks/{index:02}.png", MASK)
    storage.write("shards/a.tar", tar([member for index in range(8) for member in pair(f"{index:02}")]))
    storage.write("shards/b.tar.gz", tar([m for index in range(8, COUNT) for m in pair(f"{index:02}")], compress=True))
    table = io.BytesIO()
    columns = {"image": pa.array([IMAGE] * COUNT), "mask": pa.array([MASK] * COUNT)}
    pq.write_table(pa.table(columns), table, row_group_size=5)
    storage.write("table/a.parquet", table.getvalue())
    return root


def job(root: str, form: str, sink: str, storage: dict) -> JobConfig:
    sources = {
        "images": (SourceConfig(uri=f"{root}/photos"), MaskConfig(uri=f"{root}/masks")),
        "webdataset": (SourceConfig(format="webdataset", uri=f"{root}/shards/{{a,b}}.tar*"), MaskConfig("member")),
        "parquet": (SourceConfig(format="parquet", uri=f"{root}/table"), MaskConfig("column", column="mask")),
    }
    source, mask = sources[form]
    return JobConfig(source, mask, sink=SinkConfig(f"{root}/{form}-{sink}", sink, shard_samples=5), storage=storage)


def check(config: JobConfig) -> None:
    run_here(config)
    storage = Storage(config.sink.uri, config.storage)
    parts = [storage.read(file.key) for file in storage.list_files("manifest")]
    rows = pa.concat_tables([pq.read_table(pa.BufferReader(part)) for part in parts]).to_pylist()
    assert len({row["sample_id"] for row in rows}) == len(rows) == COUNT
    before, hole = (np.asarray(Image.open(io.BytesIO(data))) for data in (IMAGE, MASK))
    for row in rows:
        assert row["status"] == OK, row["error_message"]
        after = np.asarray(Image.open(io.BytesIO(read_result(row, config.storage))))
        assert np.array_equal(after, np.where((hole > 0)[..., None], 255 - before, before))
    named = {row["output_uri"] for row in rows}
    assert {storage.uri(file.key) for file in storage.list_files("data")} == named


@pytest.mark.parametrize("sink", ["images", "webdataset", "parquet"])
@pytest.mark.parametrize("form", ["images", "webdataset", "parquet"])
def test_from_a_bucket_to_a_bucket(here, bucket, s3_server, form, sink):
    check(job(bucket, form, sink, s3_server))


def test_credentials_region_and_endpoint_from_the_environment(here, bucket, s3_server, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server["secret"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server["endpoint_url"])
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    check(job(bucket, "webdataset", "parquet", {"config_kwargs": {"s3": {"addressing_style": "path"}}}))


@pytest.mark.slow
def test_refused_slow_and_unanswered_requests_change_nothing(here, bucket, s3_server):
    with faulty_proxy(s3_server["endpoint_url"], 0.1, timeout_s=1.0, seed=3) as (url, faults):
        patience = {"read_timeout": 1.0, "connect_timeout": 1.0}
        for form, sink in (("images", "webdataset"), ("webdataset", "parquet"), ("parquet", "images")):
            check(job(bucket, form, sink, {**s3_server, "endpoint_url": url, "config_kwargs": patience}))
    assert len(faults) == 4, faults  # every kind of fault has happened


def test_secrets_are_told_nowhere(here, bucket, s3_server, caplog):
    caplog.set_level(logging.DEBUG, "pipeline")
    config = replace(job(bucket, "images", "webdataset", s3_server), mask=MaskConfig(uri=f"{bucket}/table"))
    run_here(config)  # each sample fails for want of a mask
    wrong = replace(config, storage={**s3_server, "secret": "another-secret"})
    with pytest.raises(ConfigError, match="Forbidden: source") as refused:
        run_here(wrong, "again")
    told = f"{caplog.text} {refused.value!r} {config!r}"
    sink = Storage(config.sink.uri, s3_server)
    written = [sink.read(file.key) for file in sink.list_files()]
    for part in [file.key for file in sink.list_files("manifest")]:
        told += repr(pq.read_table(pa.BufferReader(sink.read(part))).to_pylist())
    for secret in (s3_server["secret"], "another-secret"):
        assert secret not in told
        assert not any(secret.encode() in data for data in written)


def test_object_is_read_only_as_it_was_listed(bucket, s3_server):
    storage = Storage(bucket, s3_server)
    listed = {file.key: file.version for file in storage.list_files("photos")}
    assert storage.read("photos/00.png", listed["photos/00.png"], (0, 4)) == IMAGE[:4]
    storage.write("photos/00.png", png(seed=1))
    with pytest.raises(FileChangedError):
        storage.read("photos/00.png", listed["photos/00.png"])


def test_large_objects_travel_in_parts(bucket, s3_server, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline.storage.s3, "PART_BYTES", 1 << 20)
    data = np.random.default_rng(0).bytes((5 << 20) + 7)
    (tmp_path / "large").write_bytes(data)
    storage = Storage(bucket, s3_server)
    storage.upload("large", str(tmp_path / "large"))
    assert storage.read("large", storage.stat("large").version, (3, len(data))) == data[3:]


def is_put(request: Request, key: str) -> bool:
    return request.method == "PUT" and request.path.partition("?")[0].endswith(key)


@pytest.mark.parametrize("winner", [None, b"of a rival"])
def test_conflict_of_simultaneous_creates_is_tried_again(s3_server, tmp_path, winner):
    behind, conflicts = Storage(f"s3://bucket/{tmp_path.name}", s3_server), 2

    def meddle(request, forward):
        nonlocal conflicts
        if not is_put(request, "/part") or not conflicts:
            return forward(request)
        conflicts -= 1
        if winner and not conflicts:
            behind.write("part", winner)
        return refusal(409, "ConditionalRequestConflict")

    with proxy(s3_server["endpoint_url"], meddle) as url:
        storage = Storage(f"s3://bucket/{tmp_path.name}", {**s3_server, "endpoint_url": url})
        with pytest.raises(FileExistsError) if winner else nullcontext():
            storage.create("part", b"ours")
    assert conflicts == 0 and behind.read("part") == (winner or b"ours")


def test_conflict_that_never_ends_is_an_error_of_the_storage(s3_server, monkeypatch):
    monkeypatch.setattr(pipeline.storage.s3, "FIRST_PAUSE_S", 0.01)
    busy = proxy(s3_server["endpoint_url"], lambda *_: refusal(409, "ConditionalRequestConflict", "busy"))
    with busy as url, pytest.raises(OSError, match="busy"):
        Storage("s3://bucket/x", {**s3_server, "endpoint_url": url}).create("part", b"ours")


def test_storage_that_answers_no_conditional_put_is_refused(here, bucket, s3_server):
    def meddle(request, forward):
        if "If-None-Match" in request.headers:
            return refusal(501, "NotImplemented", "A header you provided implies functionality that is not implemented")
        return forward(request)

    with proxy(s3_server["endpoint_url"], meddle) as url:
        sink = Storage(f"{bucket}/out", {**s3_server, "endpoint_url": url})
        message = r"^sink.uri: s3://bucket/.* cannot create .* \(NotImplemented: A header .*: without conditional PUT"
        with pytest.raises(ConfigError, match=message), Lease(sink, "run"):
            pass


@pytest.mark.parametrize("announced", [True, False])
def test_body_that_ends_early_comes_again_and_never_reaches_the_decoder(
    here, bucket, s3_server, monkeypatch, announced
):
    monkeypatch.setattr(pipeline.storage.s3, "FIRST_PAUSE_S", 0.01)
    faults = {"photos/02.png": 3, "masks/04.png": 3, "photos/06.png": 1000, "masks/08.png": 1000}

    def meddle(request, forward):
        answer = forward(request)
        name = request.path.partition("?")[0].removeprefix(f"/{bucket.removeprefix('s3://')}/")
        if request.method != "GET" or not faults.get(name):
            return answer
        faults[name] -= 1
        return cut(answer, announced)

    with proxy(s3_server["endpoint_url"], meddle) as url:
        config = job(bucket, "images", "images", {**s3_server, "endpoint_url": url})
        run_here(config)
    rows = {row["sample_id"]: row for row in Manifest(Storage(config.sink.uri, s3_server)).load().to_pylist()}
    for failed in (rows.pop("06.png"), rows.pop("08.png")):
        assert failed["error_type"] in ("OSError", "IncompleteReadError"), failed
        assert re.search("received .* of|ClientPayloadError", failed["error_message"])
    assert {row["status"] for row in rows.values()} == {OK} and len(rows) == COUNT - 2
    assert faults["photos/02.png"] == faults["masks/04.png"] == 0


class Spoilt:
    """Spoils the answers to the next two GETs, or to as many as ``left`` says."""

    def __init__(self, spoil):
        self.spoil, self.left = spoil, 2

    def meddle(self, request, forward):
        answer = forward(request)
        if request.method != "GET" or not self.left:
            return answer
        self.left -= 1
        return self.spoil(answer)


def test_body_with_another_checksum_than_announced_comes_again(bucket, s3_server, monkeypatch):
    monkeypatch.setattr(pipeline.storage.s3, "FIRST_PAUSE_S", 0.01)
    spoilt = Spoilt(lambda answer: replace(answer, content=answer.content[:-1] + b"?"))
    with proxy(s3_server["endpoint_url"], spoilt.meddle) as url:
        storage = Storage(bucket, {**s3_server, "endpoint_url": url})
        assert storage.read("photos/00.png") == IMAGE and spoilt.left == 0
        spoilt.left = 1000
        with pytest.raises(OSError, match="FlexibleChecksumError"):
            storage.read("photos/00.png")


@pytest.mark.parametrize("announced", [True, False])
def test_part_of_an_object_that_ends_early_comes_again(bucket, s3_server, monkeypatch, announced):
    monkeypatch.setattr(pipeline.storage.s3, "FIRST_PAUSE_S", 0.01)
    spoilt = Spoilt(lambda answer: cut(answer, announced))
    with proxy(s3_server["endpoint_url"], spoilt.meddle) as url:
        storage = Storage(bucket, {**s3_server, "endpoint_url": url})
        with storage.open("photos/00.png") as file:
            assert file.read() == IMAGE and spoilt.left == 0
        spoilt.left = 1000
        with (
            storage.open("photos/00.png") as file,
            pytest.raises(OSError, match=r"received .* of|ClientPayloadError"),
        ):
            file.read()
        with pytest.raises(OSError, match=r"received .* of|ClientPayloadError"):
            storage.read("photos/00.png", span=(10, 20))


def test_listing_that_lacks_what_was_written_is_refused(s3_server, tmp_path):
    lost: set[str] = set()

    def meddle(request, forward):
        answer = forward(request)
        if "list-type=2" not in request.path:
            return answer
        entries = re.split(r"(?=<Contents>)|(?<=</Contents>)", answer.content.decode())
        kept = [entry for entry in entries if not any(name in entry for name in lost)]
        return replace(answer, content="".join(kept).encode())

    with proxy(s3_server["endpoint_url"], meddle) as url:
        manifest = Manifest(Storage(f"s3://bucket/{tmp_path.name}", {**s3_server, "endpoint_url": url}))
        manifest.load()
        manifest.append(to_table([Record("a", OK)]))
        lost.add("part-00000000")
        for look in (manifest.check, manifest.load):
            with pytest.raises(ConfigError, match=r"does not list manifest/part-00000000.*read-after-write"):
                look()
        lost = {"part-00000001"}
        with pytest.raises(ConfigError, match=r"does not list manifest/part-00000001.*read-after-write"):
            manifest.append(to_table([Record("b", OK)]))
        empty = Manifest(Storage(f"s3://bucket/{tmp_path.name}-2", {**s3_server, "endpoint_url": url}))
        lost = {"part-"}
        with pytest.raises(ConfigError, match=r"does not list manifest/part-00000000.*read-after-write"):
            empty.append(to_table([Record("a", OK)]))
