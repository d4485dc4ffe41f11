"""A job on a cluster that grows and shrinks while it runs."""

import json
import shutil
import signal
import tempfile
import time
from itertools import count
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.bench.flow import write_corpus
from tests.joined_cluster import Node, free_port, run_driver, start_node, stop, wait_for

SAMPLES = 240
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


class Cluster:
    """A head without GPUs, and nodes of one GPU, as Ray sees them, that join and leave."""

    def __init__(self, folder: Path):
        self.folder, self.port, self.numbers = folder, free_port(), count()
        self.env = {"HOME": str(folder)}
        self.address = f"127.0.0.1:{self.port}"
        flags = ["--head", f"--port={self.port}", "--include-dashboard=false"]
        self.nodes = [start_node("head", folder, flags, 1, self.env)]
        wait_for(self.nodes, self.port)

    def join(self) -> Node:
        flags = [f"--address={self.address}", "--num-gpus=1"]
        node = start_node(f"node{next(self.numbers)}", self.folder, flags, 1, self.env)
        self.nodes.append(node)
        wait_for([*self.nodes[:1], node], self.port)
        return node


@pytest.fixture
def cluster():
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    started = Cluster(folder)
    yield started
    for node in reversed(started.nodes):
        stop(node, is_graceful=False)
    shutil.rmtree(folder, ignore_errors=True)


def until(condition, timeout_s: float = 60.0) -> float:
    """Wait for a condition, and return the seconds that it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_s
        time.sleep(0.1)
    return time.monotonic() - started


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
        first.process.send_signal(signal.SIGTERM)
        assert until(lambda: first.process.poll() is not None) < GRACE_S
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
