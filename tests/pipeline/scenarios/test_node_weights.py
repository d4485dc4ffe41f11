"""Weights that only the driver has reach the nodes of a cluster through the sink's bucket."""

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline.cluster.connection.connect
from moebius.weights import find_weights
from pipeline.cluster.resources.node_weights import with_fetchable_weights
from pipeline.config.job import JobConfig, MaskConfig, ModelConfig, RunConfig, SinkConfig, SourceConfig
from pipeline.storage.storage import Storage
from tests.conftest import ROOT, make_photos, write_tiny_weights
from tests.joined_cluster import DRIVER, JoinedCluster, bind_empty, plain_environment, run_driver, unbind

COUNT = 6
TAKE_HEAD = """
import sys
import ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
place = {"num_cpus": 1, "resources": {"head": 0.5}}
taken = ray.remote(type("Idle", (), {"here": lambda self: True})).options(**place).remote()
print(ray.get(taken.here.remote()), flush=True)
sys.stdin.read()
"""


def command(name: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"jobs.{name}", *map(str, arguments)],
        cwd=ROOT,
        env={**plain_environment(), **DRIVER, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@contextlib.contextmanager
def head_taken(cluster: JoinedCluster) -> Iterator[None]:
    """Leave no CPU of the head node to others."""
    driver = run_driver(TAKE_HEAD, cluster.address, stdin=subprocess.PIPE)
    assert driver.stdout.readline() == "True\n"
    yield
    driver.communicate()


@pytest.mark.slow
def test_node_without_the_path_works_with_the_weights_of_the_driver(mounted_cluster, tmp_path, s3_server):
    photos, masks = make_photos(tmp_path, count=COUNT)
    own = tmp_path / "own"
    own.mkdir()
    write_tiny_weights(own)
    root = f"s3://bucket/{tmp_path.name}"
    for folder in (photos, masks):
        for path in folder.iterdir():
            Storage(root, s3_server).write(f"{folder.name}/{path.name}", path.read_bytes())
    storage = [f"storage={json.dumps(s3_server)}"]
    places = [f"source.uri={root}/photos", f"mask.uri={root}/masks", "model.steps=2", f"model.weights={own}"]
    job = ["conf/inpaint.yaml", *places, "run.actors=1", "run.report=false", *storage]
    joined = [*job, f"run.address={mounted_cluster.address}", f"sink.uri={root}/joined"]
    bind_empty(mounted_cluster.second, own)
    try:
        with head_taken(mounted_cluster):
            ended = command("inpaint", *joined)
        assert ended.returncode == 0, ended.stderr
        assert ended.stderr.count(f"to {root}/joined/weights/{find_weights(str(own)).fingerprint}, once") == 1
        rows = rows_of(Storage(f"{root}/joined", s3_server))
        assert {row["worker"].partition("/")[0] for row in rows.values()} == {"second"}
        again = command("inpaint", *joined, "model.seed=1", "run.select=sample_id='000.png'")
    finally:
        unbind(mounted_cluster.second, own)
    assert again.returncode == 0 and "copying weights" not in again.stderr, again.stderr
    reached = [part for key, value in plain(s3_server) for part in ("--storage", f"{key}={value}")]
    unused = command("vacuum", f"{root}/joined", *reached)
    assert unused.stdout.startswith("0 files"), unused.stderr

    alone = command("inpaint", *job, f"sink.uri={root}/alone")
    assert alone.returncode == 0, alone.stderr
    sink = Storage(f"{root}/alone", s3_server)
    assert not list(sink.list_files("weights"))  # no node lacks them
    expected = {name: row["output_sha256"] for name, row in rows_of(sink).items()}
    assert {name: row["output_sha256"] for name, row in rows.items()} == expected


def plain(options: dict) -> list[tuple[str, object]]:
    return [(key, value) for key, value in options.items() if not isinstance(value, dict)]


def rows_of(sink: Storage) -> dict[str, dict]:
    tables = [pq.read_table(io.BytesIO(sink.read(file.key))) for file in sink.list_files("manifest")]
    rows = {row["sample_id"]: row for row in pa.concat_tables(tables).to_pylist()}
    assert len(rows) == COUNT and {row["status"] for row in rows.values()} == {"ok"}
    return rows


@pytest.mark.parametrize(
    ("weights", "sink", "address", "is_copied"),
    [
        ("own", "s3", "127.0.0.1:6379", True),
        ("own", "s3", None, False),  # the cluster is this machine
        ("own", "disk", "127.0.0.1:6379", False),  # nodes share a disk
        ("nano", "s3", "127.0.0.1:6379", False),  # nodes have it
        ("s3://bucket/weights", "s3", "127.0.0.1:6379", False),  # nodes fetch it themselves
    ],
)
def test_weights_are_copied_only_where_a_node_may_lack_them(
    tmp_path, s3_server, tiny_weights, monkeypatch, weights, sink, address, is_copied
):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(pipeline.cluster.connection.connect.ray, "is_initialized", lambda: False)  # whatever ran before
    own = str(tiny_weights)
    uri = f"s3://bucket/{tmp_path.name}" if sink == "s3" else str(tmp_path / "sink")
    config = JobConfig(
        SourceConfig(uri=str(tmp_path)),
        MaskConfig(uri=str(tmp_path)),
        model=ModelConfig(weights=own if weights == "own" else weights),
        sink=SinkConfig(uri),
        run=RunConfig(address=address),
        storage=s3_server,
    )
    found, stored = find_weights(own), Storage(uri, s3_server)
    node_job = with_fetchable_weights(config, found, stored)
    folder = f"weights/{found.fingerprint}"
    assert node_job.model.weights == (stored.uri(folder) if is_copied else config.model.weights)
    assert any(stored.list_files(folder)) == is_copied
    assert node_job.fingerprint == config.fingerprint
