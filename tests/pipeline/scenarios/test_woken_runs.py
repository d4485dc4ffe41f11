"""A run that sleeps while another works on its sink, and wakes: whatever rows name then is still there."""

import os
from contextlib import nullcontext

import pytest

import pipeline.run
from pipeline.cluster.supervision.supervisor import Supervisor
from pipeline.config.job import JobConfig
from pipeline.errors import JobError
from pipeline.executor.base import Executor
from pipeline.maintenance.repack import repack
from pipeline.manifest.lease import LeaseHeldError
from pipeline.manifest.log import Manifest, ManifestConflictError
from pipeline.records import OK, Record, to_table
from pipeline.storage.storage import Storage
from tests.pipeline.conftest import four_photos
from tests.pipeline.flow_here import HERE, BeforeWork, Unheld, run_here


@pytest.fixture(params=["images", "webdataset"])
def done(request, here, tmp_path):
    """A finished job over four photos."""
    config = four_photos(tmp_path, format=request.param, shard_samples=2)
    run(config, "first")
    return config


def run(config: JobConfig, run_id: str, executor: Executor = HERE) -> None:
    run_here(config, run_id, executor=executor)


def receive_one(config: JobConfig) -> None:
    for storage in (Storage(config.source.uri), Storage(config.mask.uri)):
        storage.write("new.png", storage.read("000.png"))


def check(config: JobConfig, count: int) -> None:
    rows = Manifest(Storage(config.sink.uri)).load().to_pylist()
    assert len(rows) == count
    assert all(os.path.exists(row["output_uri"]) for row in rows if row["output_uri"])


@pytest.mark.parametrize("done", ["webdataset"], indirect=True)
def test_run_that_wakes_at_its_end_deletes_no_shard_of_the_other(done, here):
    def sleep_and_repack(*arguments):
        here.setattr(pipeline.run, "repack", repack)
        receive_one(done)
        run(done, "other")
        repack(*arguments)

    here.setattr(pipeline.run, "repack", sleep_and_repack)
    with pytest.raises(ManifestConflictError):
        run(done, "sleeper")
    check(done, 5)


@pytest.mark.parametrize("done", ["webdataset"], indirect=True)
def test_shards_that_a_woken_run_deletes_are_named_by_no_later_row(done, here):
    sleeper = Manifest(Storage(done.sink.uri))
    sleeper.load(["sample_id"])
    append = Manifest.append

    def commit_late(manifest, *arguments):
        here.setattr(Manifest, "append", append)
        repack(sleeper, Storage(done.sink.uri), Unheld())  # deletes the shard whose rows come now
        append(manifest, *arguments)

    receive_one(done)
    here.setattr(Manifest, "append", commit_late)
    with pytest.raises(ManifestConflictError):
        run(done, "other")
    check(done, 4)
    run(done, "again")
    check(done, 5)


class Lost(Unheld):
    """A lease that another run has taken over."""

    def check(self):
        raise LeaseHeldError("taken over")


def test_run_whose_workers_cannot_store_for_it_says_that_another_took_over(done, here):
    def find_no_worker(supervisor, *_):
        raise JobError("no worker can work: SinkTakenOver")

    receive_one(done)
    here.setattr(Supervisor, "do", find_no_worker)
    with pytest.raises(JobError, match="no worker can work"):
        run(done, "unlucky")
    here.setattr(pipeline.run, "Lease", lambda *_: nullcontext(Lost()))
    with pytest.raises(LeaseHeldError):
        run(done, "sleeper")


@pytest.mark.parametrize("done", ["webdataset"], indirect=True)
def test_run_that_no_longer_holds_the_sink_deletes_no_shard(done):
    sink = Storage(done.sink.uri)
    shard = "data/0123456789abcdef-00002.tar"  # a driver of a slice may be about to name it
    sink.write(shard, b"")
    manifest = Manifest(sink)
    manifest.load(["sample_id"])
    with pytest.raises(LeaseHeldError):
        repack(manifest, sink, Lost())
    assert sink.read(shard) == b""
    repack(manifest, sink, Unheld())
    assert not os.path.exists(sink.path(shard))


@pytest.mark.parametrize("done", ["images"], indirect=True)
def test_run_that_wakes_with_a_failed_sample_keeps_the_result_that_rows_name(done):
    def commit_another():
        other = Manifest(Storage(done.sink.uri))
        other.load(["sample_id"])
        other.append(to_table([Record("of another run", OK)]))

    Storage(done.source.uri).write("000.png", b"broken now")
    with pytest.raises(ManifestConflictError):
        run(done, "sleeper", BeforeWork(commit_another))
    check(done, 5)
