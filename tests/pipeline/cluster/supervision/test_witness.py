"""A job none of whose samples succeeds: what the driver finds missing fails, what may be unmounted does not."""

import os
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.cluster.supervision.witness import DriverWitness
from pipeline.config.job import LimitsConfig
from pipeline.errors import JobError, SampleError
from tests.conftest import planned_sample
from tests.pipeline.conftest import four_photos
from tests.pipeline.flow_here import BeforeWork, run_here


@pytest.fixture
def job(tmp_path):
    return replace(four_photos(tmp_path), limits=LimitsConfig(stall_s=3.0))


def test_quarantined_sample_is_a_failed_row_with_its_uri(job):
    fault = SampleError("inpaint", "WorkerDied", "2 workers died")
    witness = DriverWitness(job, "weights", "run")
    (row,) = witness.quarantine([(planned_sample("000.png"), fault)]).to_pylist()
    assert (row["status"], row["error_type"], row["run_id"]) == ("failed", "WorkerDied", "run")
    assert row["input_uri"] == f"{job.source.uri}/000.png" and row["weights_fingerprint"] == "weights"


def losing_photos(job) -> BeforeWork:
    """Return an executor that deletes all photos after the plan."""
    return BeforeWork(lambda: [path.unlink() for path in Path(job.source.uri).glob("*.png")])


def test_files_that_are_gone_for_the_driver_too_fail_where_others_are_there(here, job):
    (Path(job.source.uri) / "note.txt").touch()
    run_here(job, executor=losing_photos(job))
    rows = pq.read_table(f"{job.sink.uri}/manifest").to_pylist()
    assert [(row["status"], row["error_type"]) for row in rows] == [("failed", "FileNotFound")] * 4


def test_folder_that_is_empty_now_may_be_unmounted_and_blames_no_sample(here, job):
    with pytest.raises(JobError, match=r"4 of 4 samples are left: nothing succeeded .*FileNotFound"):
        run_here(job, executor=losing_photos(job))
    assert not os.path.exists(f"{job.sink.uri}/manifest")
