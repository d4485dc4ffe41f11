"""A job on a cluster that grows and shrinks while it runs."""

import json
import time

import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.bench.flow import write_corpus
from tests.growing_cluster import growing_cluster
from tests.joined_cluster import run_driver

SAMPLES = 360
GRACE_S = 25.0  # Ray gives a node 30 s
JOB = """
import sys
from functools import partial
from pathlib import Path

import jobs.inpaint
from pipeline.bench.flow import SleepingActor
from pipeline.executor.ray_data import RayExecutor

config, logs = sys.argv[1:]
sys.exit(jobs.inpaint.main([config], RayExecutor(partial(SleepingActor, batch_s=0.5, logs=Path(logs)))))
"""


@pytest.fixture
def cluster():
    """A head without GPUs, which nodes of one GPU, as Ray sees them, will join."""
    with growing_cluster(flags=["--num-gpus=1"]) as started:
        yield started


def until(condition, timeout_s: float = 60.0) -> None:
    """Wait for a condition."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_s
        time.sleep(0.1)


@pytest.mark.slow
def test_workers_follow_the_cluster_and_leave_within_their_grace_period(cluster, tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    write_corpus(tmp_path, SAMPLES, 128)
    config = {
        "source": {"uri": str(tmp_path / "photos")},
        "mask": {"uri": str(tmp_path / "masks")},
        "sink": {"uri": str(tmp_path / "out")},
        "model": {"batch_size": 4},
        "run": {"address": cluster.address, "actors": "1..3", "wait_for_gpus": 60, "report": False},
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(config))
    driver = run_driver(JOB, str(tmp_path / "job.yaml"), str(logs), env={"PYTHONUNBUFFERED": "1"})
    try:
        said = next(line for line in driver.stderr if "GPU" in line)
        assert "the cluster has no GPU yet; waiting for one" in said
        first = cluster.join()
        until(lambda: len(list(logs.iterdir())) == 1)
        cluster.join()
        until(lambda: len(list(logs.iterdir())) == 2)
        cluster.drain(first, GRACE_S)
        _, errors = driver.communicate(timeout=120)
    finally:
        driver.kill()
    assert driver.returncode == 0, errors
    assert "leave: the node is being drained" in errors
    rows = pq.read_table(tmp_path / "out" / "manifest").to_pylist()
    assert len({row["sample_id"] for row in rows}) == len(rows) == SAMPLES
    assert {row["status"] for row in rows} == {"ok"}
    run = json.loads(next((tmp_path / "out" / "runs").iterdir()).read_text())
    assert run["samples"]["done_now"] == SAMPLES
