"""What may be deleted from a sink, and what must never be."""

import hashlib
import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import pipeline.sinks.image_sink
from jobs import forget as forget_job
from jobs import vacuum as vacuum_job
from pipeline.config.job import JobConfig, MaskConfig, SinkConfig, SourceConfig
from pipeline.errors import ConfigError
from pipeline.maintenance.forget import forget
from pipeline.maintenance.vacuum import delete_orphans, find_orphans
from pipeline.manifest.lease import KEY, Lease, LeaseHeldError
from pipeline.manifest.log import Manifest, ManifestConflictError
from pipeline.records import OK, Record, to_table
from pipeline.sinks.results import read_result
from pipeline.sinks.shards import sample_count
from pipeline.storage.storage import Storage
from tests.pipeline.conftest import four_photos
from tests.pipeline.flow_here import run_here
from tests.pipeline.scenarios.test_hostile_shards import pair, tar

SINKS = ("images", "webdataset", "parquet")


@pytest.fixture(params=SINKS)
def done(request, here, tmp_path):
    """A finished job over four photos."""
    config = four_photos(tmp_path, format=request.param, shard_samples=3)
    run_here(config, "first")
    return config


def snapshot(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def rows_of(config) -> dict[str, dict]:
    rows = pq.read_table(Path(config.sink.uri) / "manifest").to_pylist()
    assert max(Counter(row["sample_id"] for row in rows).values()) == 1
    return {row["sample_id"]: row for row in rows}


def test_vacuum_lists_and_deletes_what_no_row_names_and_nothing_else(done, tmp_path, capsys):
    out = tmp_path / "out"
    before = snapshot(out)
    stray = {"data/stray.png": b"1", f"data/{'0' * 16}-00003.tar": b"22", ".staging/part": b"333"}
    for key, content in stray.items():
        (out / key).parent.mkdir(exist_ok=True)
        (out / key).write_bytes(content)
    (out / "notes.txt").write_text("mine")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "precious.png").write_bytes(b"not of this sink")
    (out / "data" / "linked").symlink_to(foreign)
    (out / "data" / "link.png").symlink_to(foreign / "precious.png")
    everything = snapshot(out)
    assert vacuum_job.main([str(out)]) == 0
    assert snapshot(out) == everything
    assert "3 files, 0.0 MB, unused; --delete removes them" in capsys.readouterr().out
    assert vacuum_job.main([str(out), "--delete"]) == 0
    told = capsys.readouterr().out
    assert all(key in told for key in stray) and "3 files" in told
    after = snapshot(out)
    assert {key for key in everything if key not in after} == set(stray)
    assert all(after[key] == content for key, content in before.items()) and (foreign / "precious.png").exists()
    assert vacuum_job.main([str(out), "--delete"]) == 0 and capsys.readouterr().out.startswith("0 files")
    summary = run_here(done, "second")
    assert summary.samples["done_now"] == 0 and len(rows_of(done)) == 4


def test_forgotten_samples_are_gone_for_good_and_the_others_whole(done, tmp_path, capsys):
    out = tmp_path / "out"
    before = rows_of(done)
    secret = read_result(before["001.png"], {})
    (out / "report.html").write_text("<p>001.png</p>")
    assert forget_job.main([str(out), "001.png"]) == 0
    assert "1 rows removed" in capsys.readouterr().out
    after = rows_of(done)
    assert set(after) == set(before) - {"001.png"}
    for name, row in after.items():
        assert hashlib.sha256(read_result(row, {})).hexdigest() == row["output_sha256"] == before[name]["output_sha256"]
    content = snapshot(out)
    assert not any(secret[100:200] in data or b"001.png" in data for data in content.values())
    counts = Counter(row["output_uri"] for row in after.values() if row["output_member"] is not None)
    assert all(sample_count(uri) == count for uri, count in counts.items())
    assert {f"{out}/{key}" for key in content if key.startswith("data/")} == {
        row["output_uri"] for row in after.values()
    }
    # The source still has it; neither a run over everything nor one over changed settings brings it back.
    again = replace(done, run=replace(done.run, redo_changed=True), model=replace(done.model, steps=7))
    summary = run_here(again, "again")
    assert summary.samples["found"] == summary.samples["done_now"] == 3 and set(rows_of(done)) == set(after)
    assert forget_job.main([str(out), "001.png"]) == 0 and "0 rows removed" in capsys.readouterr().out
    assert forget_job.main([str(out), "nobody.png"]) == 2 and "'nobody.png'" in capsys.readouterr().err


@pytest.mark.parametrize("done", ["images"], indirect=True)
def test_sink_in_use_is_left_alone(done, tmp_path, capsys):
    out, sink = tmp_path / "out", Storage(done.sink.uri)
    (out / "data" / "unfinished.png").write_bytes(b"its row comes next")
    with Lease(sink, "working", renew_s=0.05):
        with pytest.raises(LeaseHeldError, match="held by run working"):
            list(find_orphans(sink, "vacuum"))
        assert vacuum_job.main([str(out), "--delete"]) == 1
        assert forget_job.main([str(out), "000.png"]) == 1
    assert (out / "data" / "unfinished.png").exists() and "000.png" in rows_of(done)


@pytest.mark.parametrize("done", ["images"], indirect=True)
def test_run_that_slept_while_its_results_were_deleted_cannot_name_them(done, tmp_path):
    sleeper = Manifest(Storage(done.sink.uri))
    sleeper.load(["sample_id"])
    (tmp_path / "out" / "data" / "late.png").write_bytes(b"written, not committed")
    assert [orphan.key for orphan in delete_orphans(Storage(done.sink.uri), "vacuum")] == ["data/late.png"]
    with pytest.raises(ManifestConflictError):
        sleeper.append(to_table([Record("late.png", OK, output_uri=f"{tmp_path}/out/data/late.png")]))
    assert len(rows_of(done)) == 4


@pytest.mark.parametrize("done", ["images"], indirect=True)
def test_vacuum_that_slept_while_a_run_took_over_deletes_nothing_more(done, tmp_path):
    sink = Storage(done.sink.uri)
    for name in ("stray.png", "wanted.png"):
        sink.write(f"data/{name}", b"of a killed run")
    orphans = delete_orphans(sink, "vacuum")
    assert next(orphans).key == "data/stray.png"
    sink.write(KEY, json.dumps({"run_id": "next", "place": "x", "pid": 1, "renewals": 0}).encode())
    with pytest.raises(LeaseHeldError, match="was taken over"):
        list(orphans)
    assert (tmp_path / "out" / "data" / "wanted.png").exists()


@pytest.mark.parametrize("is_earlier_version", [False, True])
def test_results_of_members_below_a_dot_are_whole_and_stay(here, tmp_path, is_earlier_version):
    (tmp_path / "x.tar").write_bytes(tar([*pair("./a"), *pair("./b/c")]))  # as tar names what lies in a folder
    config = JobConfig(
        source=SourceConfig("webdataset", str(tmp_path / "x.tar")),
        mask=MaskConfig("member"),
        sink=SinkConfig(uri=str(tmp_path / "out")),
    )
    with here.context() as patched:
        if is_earlier_version:  # which kept the dot
            patched.setattr(pipeline.sinks.image_sink, "result_name", str)
        run_here(config)
    again = replace(config, model=replace(config.model, seed=1), run=replace(config.run, redo_changed=True))
    for number in range(2):
        assert list(delete_orphans(Storage(config.sink.uri), "vacuum")) == []
        names = [os.path.relpath(row["output_uri"], config.sink.uri) for row in rows_of(config).values()]
        assert names == ["data/x.tar/a.png", "data/x.tar/b/c.png"]
        assert all(os.path.exists(row["output_uri"]) for row in rows_of(config).values())
        run_here(again, f"again-{number}")


@pytest.mark.parametrize("done", ["images"], indirect=True)
def test_folder_that_is_no_sink_and_a_moved_sink_are_refused(done, tmp_path):
    (tmp_path / "album" / "data").mkdir(parents=True)
    (tmp_path / "album" / "manifest").mkdir()
    (tmp_path / "album" / "data" / "photo.png").write_bytes(b"mine")
    (tmp_path / "album" / "manifest" / "of-something-else.parquet").write_bytes(b"mine")
    os.rename(tmp_path / "out", tmp_path / "moved")
    for folder, message in (("album", "holds no manifest"), ("moved", "name results elsewhere")):
        before = snapshot(tmp_path / folder)
        for work in (delete_orphans, find_orphans):
            with pytest.raises(ConfigError, match=message):
                list(work(Storage(str(tmp_path / folder)), "vacuum"))
        with pytest.raises(ConfigError, match=message):
            forget(Storage(str(tmp_path / folder)), ["000.png"], "forget")
        assert snapshot(tmp_path / folder) == before
    assert [path.name for path in (tmp_path / "album").iterdir() if path.name[0] == "."] == []


@pytest.mark.parametrize("is_link", [False, True])
def test_job_in_a_moved_sink_deletes_nothing(done, is_link, tmp_path):
    other = tmp_path / "other"
    other.symlink_to(tmp_path / "out") if is_link else os.rename(tmp_path / "out", other)
    before = snapshot(other)
    moved = replace(done, sink=replace(done.sink, uri=str(other)))
    run_here(moved, "second")
    assert before.items() <= snapshot(other).items()
    again = replace(moved, model=replace(done.model, seed=1), run=replace(done.run, redo_changed=True))
    run_here(again, "third")
    assert {row["status"] for row in rows_of(moved).values()} == {OK}


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        (OSError("no answer"), 1, "moebius: no answer; after fixing the cause, run the same command again to resume\n"),
        (PermissionError(13, "Forbidden", "bucket"), 2, "moebius: bucket: Forbidden\n"),
    ],
)
@pytest.mark.parametrize("done", ["images"], indirect=True)
def test_sink_that_cannot_be_reached_is_one_line(done, tmp_path, monkeypatch, capsys, fault, code, message):
    def fail(*_):
        raise fault

    monkeypatch.setattr(Storage, "list_files", fail)
    for command, names in ((vacuum_job, []), (forget_job, ["000.png"])):
        assert command.main([str(tmp_path / "out"), *names]) == code
        assert capsys.readouterr().err.endswith(message)


@pytest.mark.parametrize("text", ['{"sha256": ["a",]}', '{"names": []}', "[]"])
@pytest.mark.parametrize("done", ["images"], indirect=True)
def test_list_of_the_forgotten_that_is_none_any_more_stops_the_job(done, tmp_path, text):
    (tmp_path / "out" / "forgotten.json").write_text(text)
    with pytest.raises(ConfigError, match=r"out/forgotten.json must hold \{\"sha256\""):
        run_here(done, "second")


class Killed(BaseException):
    """SIGKILL: nothing catches it."""


@pytest.mark.parametrize("is_made", [pytest.param(False, marks=pytest.mark.slow), True])
def test_forgetting_that_was_killed_anywhere_is_finished_by_the_same_command(done, monkeypatch, is_made):
    """Every change of the storage is struck once, in turn, before or after it is made."""
    sink, changes = Storage(done.sink.uri), ("write", "upload", "create", "delete")
    real = {name: getattr(Storage, name) for name in changes}
    tries, left = 0, 0

    def striking(name):
        def change(storage, *arguments):
            nonlocal left
            left -= 1
            if left:
                return real[name](storage, *arguments)
            try:
                return real[name](storage, *arguments) if is_made else None
            finally:
                raise Killed

        return change

    for name in real:
        monkeypatch.setattr(Storage, name, striking(name))
    while True:
        tries += 1
        left = tries
        try:
            forget(sink, ["001.png", "003.png"], "forget")
            break
        except Killed:
            continue
    assert tries > 4 and set(rows_of(done)) == {"000.png", "002.png"}
    named = {row["output_uri"] for row in rows_of(done).values()}
    assert {str(path) for path in (Path(done.sink.uri) / "data").rglob("*") if path.is_file()} == named
    assert all(read_result(row, {}) for row in rows_of(done).values())


def test_vacuum_and_forget_on_object_storage(here, tmp_path, s3_server):
    config = four_photos(tmp_path, uri=f"s3://bucket/{tmp_path.name}", format="webdataset", shard_samples=3)
    config = replace(config, storage=s3_server)
    run_here(config, "first")
    sink = Storage(config.sink.uri, s3_server)
    sink.write("data/stray.tar", b"no row names it")
    assert [orphan.key for orphan in find_orphans(sink, "vacuum")] == ["data/stray.tar"]
    assert [orphan.key for orphan in delete_orphans(sink, "vacuum")] == ["data/stray.tar"]
    assert forget(sink, ["001.png"], "forget") == 1
    rows = Manifest(sink).load().to_pylist()
    assert sorted(row["sample_id"] for row in rows) == ["000.png", "002.png", "003.png"]
    assert {sink.uri(file.key) for file in sink.list_files("data")} == {row["output_uri"] for row in rows}
    for row in rows:
        assert hashlib.sha256(read_result(row, s3_server)).hexdigest() == row["output_sha256"]
