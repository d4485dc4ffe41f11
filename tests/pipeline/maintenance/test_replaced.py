"""Earlier results of samples: which go, which stay, and when, wherever a run is killed or sleeps."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import pipeline.maintenance.replaced
import pipeline.run
from pipeline.config.job import JobConfig
from pipeline.executor.base import Executor
from pipeline.maintenance.forget import forget
from pipeline.maintenance.vacuum import delete_orphans, find_orphans
from pipeline.manifest.lease import KEY, LeaseHeldError
from pipeline.manifest.log import Manifest, ManifestConflictError
from pipeline.records import OK
from pipeline.storage.storage import Storage
from tests.pipeline.conftest import four_photos
from tests.pipeline.flow_here import HERE, BeforeWork, run_here


class Killed(BaseException):
    """SIGKILL of the driver: nothing catches it."""


@pytest.fixture
def done(here, tmp_path) -> JobConfig:
    """A finished job over four photos."""
    config = four_photos(tmp_path)
    run(config, "first")
    return config


def run(config: JobConfig, run_id: str, executor: Executor = HERE) -> None:
    run_here(config, run_id, executor=executor)


def as_webp(config: JobConfig) -> JobConfig:
    """The same job with results in another format, and so under other names."""
    return replace(config, sink=replace(config.sink, image_format="webp"), run=replace(config.run, redo_changed=True))


def files(config: JobConfig) -> list[str]:
    return sorted(os.listdir(f"{config.sink.uri}/data"))


def named(config: JobConfig) -> list[str]:
    rows = Manifest(Storage(config.sink.uri)).load().to_pylist()
    return sorted(os.path.basename(row["output_uri"]) for row in rows if row["output_uri"])


def test_results_go_when_rows_name_others(done):
    before = files(done)
    run(as_webp(done), "webp")
    assert files(done) == named(done) == [f"{name}.webp" for name in before]


@pytest.mark.parametrize("is_shard", [False, True])
def test_results_are_deleted_after_the_rows_that_replace_them(done, here, is_shard):
    sink = {"format": "webdataset"} if is_shard else {"image_format": "webp"}
    job = replace(as_webp(done), sink=replace(done.sink, **sink))
    delete, append = Storage.delete, Manifest.append
    events = []
    here.setattr(Manifest, "append", lambda *given: (append(*given), events.append("commit"))[0])
    here.setattr(Storage, "delete", lambda storage, key: (delete(storage, key), events.append(key))[0])
    run(job, "other")
    deleted = [index for index, event in enumerate(events) if event.startswith("data/")]
    assert len(deleted) == 4 and "commit" in events and "commit" not in events[min(deleted) : max(deleted)]
    assert events[: min(deleted)].count("commit") >= (2 if is_shard else 4)


def test_crash_before_the_deletion_leaves_files_that_the_next_run_deletes(done, here):
    def die(*_):
        raise Killed

    with here.context() as patched:
        patched.setattr(pipeline.run, "delete_replaced", die)
        with pytest.raises(Killed):
            run(as_webp(done), "killed")
    assert len(files(done)) == 8
    run(as_webp(done), "next")
    assert files(done) == named(done) and len(files(done)) == 4


def test_crash_in_the_midst_of_the_deletion_is_mended_by_the_next_run(done, here):
    delete, left = Storage.delete, 2

    def die_later(storage, key):
        nonlocal left
        if key.startswith("data/"):
            left -= 1
            if left < 0:
                raise Killed
        delete(storage, key)

    with here.context() as patched:
        patched.setattr(Storage, "delete", die_later)
        with pytest.raises(Killed):
            run(as_webp(done), "killed")
    assert len(files(done)) == 6
    run(as_webp(done), "next")
    assert files(done) == named(done) and len(files(done)) == 4


def test_run_that_wakes_before_a_deletion_keeps_what_another_has_committed(done, here):
    """The driver sleeps between its last look and a deletion, while another run brings the earlier names back."""
    check, looks = Manifest.check, 0

    def sleep_and_check(manifest):
        nonlocal looks
        looks += 1
        if looks == 3:  # the first is before the deletions, the second before the first of them
            here.setattr(Manifest, "check", check)
            run(replace(done, run=replace(done.run, redo_changed=True)), "other")
        check(manifest)

    here.setattr(Manifest, "check", sleep_and_check)
    with pytest.raises(ManifestConflictError):
        run(as_webp(done), "sleeper")
    assert set(named(done)) <= set(files(done)) and len(named(done)) == 4


def test_run_whose_sink_was_taken_over_deletes_nothing(done, here):
    class TakenOver:
        def check(self):
            raise LeaseHeldError("taken over")

    delete_replaced = pipeline.maintenance.replaced.delete_replaced
    here.setattr(pipeline.run, "delete_replaced", lambda manifest, _: delete_replaced(manifest, TakenOver()))
    with pytest.raises(LeaseHeldError):
        run(as_webp(done), "sleeper")
    assert len(files(done)) == 8 and not os.path.exists(f"{done.sink.uri}/{KEY}")


@pytest.mark.parametrize(("folder", "is_forgotten"), [("source", False), ("mask", False), ("source", True)])
def test_result_stays_where_the_sample_could_only_not_be_read(done, folder, is_forgotten):
    place = Path(getattr(done, folder).uri) / "000.png"
    before = files(done)
    again = replace(done, model=replace(done.model, seed=1), run=replace(done.run, redo_changed=True))
    run(again, "second", BeforeWork(lambda: shutil.move(place, f"{place}.away")))
    rows = {row["sample_id"]: row for row in Manifest(Storage(done.sink.uri)).load().to_pylist()}
    assert rows["000.png"]["error_type"] == "FileNotFound" and rows["001.png"]["status"] == OK
    assert files(done) == before
    sink = Storage(done.sink.uri)
    assert [orphan.key for orphan in find_orphans(sink, "vacuum")] == ["data/000.png"]
    if is_forgotten:
        forget(sink, ["000.png"], "forget")
        assert files(done) == named(done) and len(files(done)) == 3
        return
    shutil.move(f"{place}.away", place)
    run(replace(again, run=replace(again.run, retry_failed=True)), "third")
    assert list(delete_orphans(sink, "vacuum")) == [] and files(done) == named(done) == before


def test_result_goes_where_the_sample_itself_is_broken(done):
    Storage(done.source.uri).write("000.png", b"broken now")
    run(done, "second")
    assert files(done) == named(done) and len(files(done)) == 3


def test_forgotten_sample_takes_along_a_result_that_a_killed_run_has_left(done, here):
    with here.context() as patched:
        patched.setattr(pipeline.run, "delete_replaced", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            run(as_webp(done), "killed")
    forget(Storage(done.sink.uri), ["000.png"], "forget")
    assert files(done) == named(done) == ["001.png.webp", "002.png.webp", "003.png.webp"]


def test_name_that_another_sample_has_now_is_kept(here, tmp_path):
    config = four_photos(tmp_path)
    for storage in (Storage(config.source.uri), Storage(config.mask.uri)):
        storage.write("000.png.webp", storage.read("000.png"))
    run(config, "first")
    assert "000.png.webp" in files(config)
    run(as_webp(config), "webp")
    assert files(config) == named(config) and {"000.png.webp", "000.png.webp.webp"} <= set(files(config))


def test_results_on_object_storage_go_when_rows_name_others(here, tmp_path, s3_server):
    config = replace(four_photos(tmp_path, uri=f"s3://bucket/{tmp_path.name}"), storage=s3_server)
    run(config, "first")
    run(as_webp(config), "webp")
    sink = Storage(config.sink.uri, s3_server)
    rows = Manifest(sink).load().to_pylist()
    assert {sink.uri(file.key) for file in sink.list_files("data")} == {row["output_uri"] for row in rows}
    assert len(rows) == 4 and all(row["output_uri"].endswith(".webp") for row in rows)
