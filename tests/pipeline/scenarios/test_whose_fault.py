"""Jobs on a cluster of two nodes that was there before, one of which has its own mounts: who is blamed for a fault."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import ROOT, make_photos
from tests.joined_cluster import DRIVER, JoinedCluster, bind_empty, bind_read_only, unbind


class Job:
    """A job on the cluster whose engines have faults, see :mod:`tests.pipeline.faulty_job`."""

    def __init__(self, cluster: JoinedCluster, folder: Path):
        self.cluster, self.folder = cluster, folder

    def run(self, faults: dict | None = None, *overrides: str) -> subprocess.CompletedProcess[str]:
        arguments = [self.cluster.address, str(self.folder), json.dumps(faults or {}), "run.actors=2", *overrides]
        return subprocess.run(
            [sys.executable, "-m", "tests.pipeline.faulty_job", *arguments],
            cwd=ROOT,
            env={**{key: value for key, value in os.environ.items() if not key.startswith("RAY_")}, **DRIVER},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )

    @property
    def rows(self) -> dict[str, dict]:
        table = pq.read_table(self.folder / "out" / "manifest").to_pylist()
        rows = {row["sample_id"]: row for row in table}
        assert len(rows) == len(table)
        return rows

    def check(self, **kinds: int) -> dict[str, dict]:
        """Rows, every sample's once, of which so many failed by kind, and all others are as they say."""
        rows = self.rows
        assert len(rows) == len(list((self.folder / "photos").iterdir()))
        assert Counter(row["error_type"] for row in rows.values() if row["status"] == "failed") == kinds
        for row in rows.values():
            if row["status"] != "failed":
                assert hashlib.sha256(Path(row["output_uri"]).read_bytes()).hexdigest() == row["output_sha256"]
        return rows


@pytest.fixture
def job(mounted_cluster, tmp_path):
    return Job(mounted_cluster, tmp_path)


def rename(folder: Path, index: int, mark: str) -> None:
    for kind in ("photos", "masks"):
        (folder / kind / f"{index:03}.png").rename(folder / kind / f"{index:03}-{mark}.png")


@pytest.mark.parametrize(("count", "killers"), [(12, 1), pytest.param(40, 9, marks=pytest.mark.slow)])
def test_any_number_of_killers_and_a_hang_are_rows_and_their_neighbours_are_done(job, count, killers):
    make_photos(job.folder, count=count)
    for index in range(0, 4 * killers, 4):
        rename(job.folder, index, "kill")
    rename(job.folder, count - 1, "hang")
    ended = job.run({}, "limits.sample_s=3", "limits.max_failed_fraction=0.5")
    assert ended.returncode == 0, ended.stderr
    rows = job.check(WorkerDied=killers, TimedOut=1)
    assert {name for name, row in rows.items() if row["error_type"] == "WorkerDied"} == {
        name for name in rows if "kill" in name
    }
    assert "(raylet)" not in ended.stderr


def test_node_that_does_not_see_the_source_costs_no_sample_and_no_earlier_result(job):
    make_photos(job.folder, count=60)
    assert job.run().returncode == 0
    job.check()
    bind_empty(job.cluster.second, job.folder / "photos")
    try:
        ended = job.run({}, "model.seed=1", "run.redo_changed=true")
    finally:
        unbind(job.cluster.second, job.folder / "photos")
    assert ended.returncode == 0, ended.stderr
    assert len({row["run_id"] for row in job.check().values()}) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"constructor": "no such device"},
        pytest.param({"model": "NaN"}, marks=pytest.mark.slow),
        pytest.param({"call": "spam"}, marks=pytest.mark.slow),
        pytest.param({"death": "always"}, marks=pytest.mark.slow),
    ],
)
def test_node_whose_workers_do_not_work_is_named_and_the_other_one_does_its_samples(job, fault):
    make_photos(job.folder, count=4)  # of which the second node holds few while it pauses
    ended = job.run({"*": {"slow": True, "awaits": "second"}, "second": fault})
    assert ended.returncode == 0, ended.stderr
    rows = job.check()
    assert not any(row["worker"].startswith("second/") for row in rows.values())
    if "death" not in fault:
        lines = [line for line in ended.stderr.splitlines() if "a worker on second" in line]
        assert len(lines) == 1, ended.stderr


def test_node_whose_workers_cannot_start_does_not_end_the_pass_of_the_others(job):
    make_photos(job.folder, count=40)
    engines = ROOT / "tests" / "pipeline"
    bind_empty(job.cluster.second, engines)
    try:
        ended = job.run({"*": {"slow": True}}, "limits.stall_s=60")
    finally:
        unbind(job.cluster.second, engines)
    assert ended.returncode == 0 and "trying again" not in ended.stderr, ended.stderr
    assert not any(row["worker"].startswith("second/") for row in job.check().values())


def test_node_whose_sink_is_read_only_costs_no_sample(job):
    make_photos(job.folder, count=40)
    (job.folder / "out").mkdir()
    bind_read_only(job.cluster.second, job.folder / "out")
    try:
        ended = job.run({}, "limits.stall_s=30")
    finally:
        unbind(job.cluster.second, job.folder / "out")
    assert ended.returncode == 0, ended.stderr
    job.check()


def test_error_of_every_worker_is_said_once_with_its_host_and_blames_no_sample(job):
    make_photos(job.folder, count=12)
    ended = job.run({"*": {"call": "spam"}})
    assert ended.returncode == 1
    assert "12 of 12 samples are left: no worker can work" in ended.stderr
    assert ended.stderr.count("ERROR") == 1 and "configure" not in ended.stderr and "Traceback" not in ended.stderr
    assert not (job.folder / "out" / "manifest").exists()
