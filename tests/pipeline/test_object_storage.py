"""Sources, masks and sinks on a real S3 server with credentials; what fails on the way, and what must not be told."""

import io
import logging
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import pipeline.s3_objects
from pipeline.config import JobConfig, MaskConfig, SinkConfig, SourceConfig
from pipeline.errors import ConfigError
from pipeline.records import OK
from pipeline.results import read_result
from pipeline.run import run_job
from pipeline.storage import Storage
from pipeline.storage_errors import FileChangedError
from tests.drill.faulty_proxy import faulty_proxy
from tests.pipeline.test_hostile_shards import IMAGE, MASK, pair, png, tar

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
    run_job(config, "run", lambda rows, total: None)
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


def test_refused_slow_and_unanswered_requests_change_nothing(here, bucket, s3_server):
    with faulty_proxy(s3_server["endpoint_url"], 0.1, timeout_s=1.0, seed=3) as (url, faults):
        patience = {"read_timeout": 1.0, "connect_timeout": 1.0}
        for form, sink in (("images", "webdataset"), ("webdataset", "parquet"), ("parquet", "images")):
            check(job(bucket, form, sink, {**s3_server, "endpoint_url": url, "config_kwargs": patience}))
    assert len(faults) == 4, faults  # every kind of fault has happened


def test_secrets_are_told_nowhere(here, bucket, s3_server, caplog):
    caplog.set_level(logging.DEBUG, "pipeline")
    config = replace(job(bucket, "images", "webdataset", s3_server), mask=MaskConfig(uri=f"{bucket}/table"))
    run_job(config, "run", lambda rows, total: None)  # each sample fails for want of a mask
    wrong = replace(config, storage={**s3_server, "secret": "another-secret"})
    with pytest.raises(ConfigError, match="Forbidden: source") as refused:
        run_job(wrong, "again", lambda rows, total: None)
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
    monkeypatch.setattr(pipeline.s3_objects, "PART_BYTES", 1 << 20)
    data = np.random.default_rng(0).bytes((5 << 20) + 7)
    (tmp_path / "large").write_bytes(data)
    storage = Storage(bucket, s3_server)
    storage.upload("large", str(tmp_path / "large"))
    assert storage.read("large", storage.stat("large").version, (3, len(data))) == data[3:]
