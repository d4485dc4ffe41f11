"""Sinks that accept nothing for a while: a real disk that is full, a real one that is read-only."""

import contextlib
import errno
import subprocess
import threading
import time
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

import pipeline.faults.write_retries
import pipeline.run
import pipeline.worker.actor
from pipeline.config.job import LimitsConfig
from pipeline.errors import JobError
from pipeline.executor.base import Executor
from pipeline.faults.write_retries import Hold
from pipeline.records import OK
from tests.pipeline.conftest import four_photos
from tests.pipeline.flow_here import HERE, BeforeWork, run_here


def remount(folder, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path):
    """A folder with a file system of its own, of 64 kB."""
    folder = tmp_path / "out"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("only root may mount")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def job(here, tmp_path):
    here.setattr(pipeline.faults.write_retries, "FIRST_PAUSE_S", 0.1)
    return replace(four_photos(tmp_path), limits=LimitsConfig(stall_s=2.0))


def run(job, run_id: str = "run", executor: Executor = HERE) -> None:
    run_here(job, run_id, executor=executor)


def statuses(job) -> list[str]:
    return pq.read_table(f"{job.sink.uri}/manifest").column("status").to_pylist()


def fill(folder) -> None:
    with contextlib.suppress(OSError), (folder / "ballast").open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_full_disk_ends_the_job_in_time_and_the_same_command_goes_on(job, small_disk):
    started = time.monotonic()
    with pytest.raises(JobError, match=r"4 of 4 samples are left: .*stall_s=2\. .*No space left"):
        run(job, "first", BeforeWork(lambda: fill(small_disk)))
    assert time.monotonic() - started < 20
    remount(small_disk, "size=4m")
    run(job, "second")
    assert statuses(job) == [OK] * 4


def test_sink_that_is_read_only_for_a_moment_is_waited_for_with_the_results_in_hand(job, here, small_disk):
    remount(small_disk, "size=4m")
    decoded, real = [], pipeline.worker.actor.prepare
    here.setattr(pipeline.worker.actor, "prepare", lambda *given: decoded.append(1) or real(*given))

    def make_read_only() -> None:
        remount(small_disk, "ro")
        threading.Timer(1.0, remount, (small_disk, "rw")).start()

    run(replace(job, limits=LimitsConfig(stall_s=50.0)), executor=BeforeWork(make_read_only))
    assert statuses(job) == [OK] * 4
    assert len(decoded) == 4  # nothing was done twice


def test_rows_wait_for_a_sink_that_is_read_only_for_a_moment(job, here, small_disk, lines):
    remount(small_disk, "size=4m")
    commit = pipeline.run.commit_rows

    def commit_while_read_only(*arguments) -> None:
        here.setattr(pipeline.run, "commit_rows", commit)
        remount(small_disk, "ro")
        threading.Timer(0.5, remount, (small_disk, "rw")).start()
        commit(*arguments)

    here.setattr(pipeline.run, "commit_rows", commit_while_read_only)
    run(replace(job, limits=LimitsConfig(stall_s=50.0)))
    assert statuses(job) == [OK] * 4
    assert "Read-only file system" in lines[0] and lines[1] == "the storage accepts results again"


def test_storage_that_gave_up_is_waited_for_again_once_it_has_accepted_something():
    said: list[str | None] = []
    hold, refused = Hold(0.05, said.append), OSError(errno.ENOSPC, "No space left on device")
    assert hold.retry(lambda: refused, refused, is_local=True) is refused
    started = time.monotonic()
    assert hold.retry(lambda: refused, refused, is_local=True) is refused  # at once
    assert time.monotonic() - started < 0.04
    assert hold.retry(lambda: None, None, is_local=True) is None
    assert len(said) == 2 and said[1] is None


@pytest.mark.parametrize(
    "error",
    [FileExistsError("there"), PermissionError("closed"), OSError(errno.ENAMETOOLONG, "long"), ValueError("odd")],
)
def test_what_waiting_does_not_mend_is_not_waited_for(error):
    calls: list[int] = []
    assert Hold(9.0).retry(lambda: calls.append(1), error, is_local=True) is error
    assert calls == []


def test_remote_storage_that_does_not_answer_is_waited_for(monkeypatch):
    monkeypatch.setattr(pipeline.faults.write_retries, "FIRST_PAUSE_S", 0.01)
    answers = [OSError("no answer"), None]
    assert Hold(9.0).retry(lambda: answers.pop(0), OSError("no answer"), is_local=False) is None
