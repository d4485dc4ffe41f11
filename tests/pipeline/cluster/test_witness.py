"""A job none of whose samples comes through: what the driver finds missing fails, what may be unmounted does not."""

import os
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.config.job import LimitsConfig
from pipeline.errors import JobError
from pipeline.run import run_job
from tests.pipeline.conftest import four_photos
from tests.pipeline.flow_here import before_work


@pytest.fixture
def job(tmp_path):
    return replace(four_photos(tmp_path), limits=LimitsConfig(stall_s=3.0))


def lose_photos(here, job) -> None:
    """Delete all photos after the plan."""
    before_work(here, lambda: [path.unlink() for path in Path(job.source.uri).glob("*.png")])


def test_files_that_are_gone_for_the_driver_too_fail_where_others_are_there(here, job):
    lose_photos(here, job)
    (Path(job.source.uri) / "note.txt").touch()
    run_job(job, "run", lambda rows, total: None)
    rows = pq.read_table(f"{job.sink.uri}/manifest").to_pylist()
    assert [(row["status"], row["error_type"]) for row in rows] == [("failed", "FileNotFound")] * 4


def test_folder_that_is_empty_now_may_be_unmounted_and_blames_no_sample(here, job):
    lose_photos(here, job)
    with pytest.raises(JobError, match=r"4 of 4 samples are left: nothing came through .*FileNotFound"):
        run_job(job, "run", lambda rows, total: None)
    assert not os.path.exists(f"{job.sink.uri}/manifest")
