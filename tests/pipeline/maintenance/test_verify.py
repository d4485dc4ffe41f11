"""What ``moebius verify`` finds in a sink, and how the plain command mends what it has marked."""

import hashlib
import io
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs import verify as verify_job
from pipeline.config.job import JobConfig, MaskConfig, SinkConfig, SourceConfig
from pipeline.errors import ConfigError
from pipeline.maintenance.verify import ORPHAN, verify, verify_and_mark
from pipeline.manifest.lease import Lease, LeaseHeldError
from pipeline.manifest.log import Manifest, ManifestConflictError
from pipeline.records import FAILED, OK, RESULT_DAMAGED, RESULT_MISSING, Record, to_table
from pipeline.sinks.results import read_result
from pipeline.storage.storage import Storage
from tests.pipeline.conftest import four_photos
from tests.pipeline.flow_here import run_here
from tests.pipeline.maintenance.test_vacuum import rows_of, snapshot
from tests.pipeline.scenarios.test_hostile_shards import pair, tar

SINKS = ("images", "webdataset", "parquet")


@pytest.fixture(params=SINKS)
def done(request, here, tmp_path):
    """A finished job over four photos."""
    config = four_photos(tmp_path, format=request.param, shard_samples=4)
    run(config, "first")
    return config


def run(config: JobConfig, run_id: str) -> dict[str, int]:
    return run_here(config, run_id).samples


def found(config: JobConfig, with_hashes: bool = True, mark: bool = False) -> dict[str, int]:
    storage = Storage(config.sink.uri, config.storage)
    return dict((verify_and_mark if mark else verify)(storage, "verify", with_hashes).counts)


def flip(path: str | Path, position: int) -> None:
    """Damage one byte, and nothing that a listing shows."""
    status = os.stat(path)
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def member_position(shard: str, name: str) -> int:
    """Where the content of a member of a tar is, some bytes in."""
    with tarfile.open(shard) as file:
        return file.getmember(name).offset_data + 60


def check_whole(config: JobConfig) -> None:
    for row in rows_of(config).values():
        assert row["status"] == OK
        assert hashlib.sha256(read_result(row, config.storage)).hexdigest() == row["output_sha256"]
    assert found(config) == {}


def test_sink_that_is_whole_agrees_and_is_left_as_it_is(done, tmp_path, capsys):
    before = snapshot(tmp_path / "out")
    for arguments in ([], ["--hash"], ["--hash", "--mark"]):
        assert verify_job.main([str(tmp_path / "out"), *arguments]) == 0
        told = capsys.readouterr().out
        assert "results:                4" in told and "agree:                  4" in told
        assert ("MB/s" in told) == bool(arguments) and "files/s" in told
    assert snapshot(tmp_path / "out") == before


@pytest.mark.parametrize("done", ["images"], indirect=True)
def test_flipped_byte_cut_file_missing_file_and_orphan_are_told_marked_and_mended(done, tmp_path, capsys):
    out = tmp_path / "out"
    flip(out / "data" / "000.png", 100)
    with (out / "data" / "001.png").open("r+b") as file:
        file.truncate(50)
    (out / "data" / "002.png").unlink()
    (out / "data" / "stray.png").write_bytes(b"no row names it")
    assert found(done, with_hashes=False) == {RESULT_DAMAGED: 1, RESULT_MISSING: 1, ORPHAN: 1}
    damaged = snapshot(out)
    assert verify_job.main([str(out), "--hash"]) == 3
    told = capsys.readouterr().out
    assert "damaged:                2" in told and "missing:                1" in told
    assert "ResultDamaged 000.png: data/000.png has the SHA-256" in told
    assert "ResultDamaged 001.png: data/001.png has 50 bytes, its row says" in told
    assert f"ResultMissing 002.png: {out}/data/002.png does not exist" in told
    assert "Orphan        data/stray.png" in told and "moebius vacuum" in told
    assert snapshot(out) == damaged

    assert verify_job.main([str(out), "--hash", "--mark"]) == 3
    data = {key: content for key, content in snapshot(out).items() if key.startswith("data/")}
    assert data == {key: content for key, content in damaged.items() if key.startswith("data/")}
    rows = rows_of(done)
    assert {name: row["status"] for name, row in rows.items() if row["status"] != OK} == dict.fromkeys(
        ("000.png", "001.png", "002.png"), FAILED
    )
    assert rows["002.png"]["error_type"] == RESULT_MISSING and rows["000.png"]["error_stage"] == "write"
    assert rows["000.png"]["output_uri"] is rows["000.png"]["output_sha256"] is None
    assert verify(Storage(str(out)), "verify", True).marked == 3

    (out / "data" / "stray.png").unlink()
    assert run(done, "same-command")["done_now"] == 3
    check_whole(done)
    assert run(done, "again")["done_now"] == 0


@pytest.mark.parametrize("done", ["webdataset"], indirect=True)
def test_damaged_member_of_a_tar_is_done_again_and_its_neighbours_are_taken_over(done):
    before = rows_of(done)
    shard = before["001.png"]["output_uri"]
    flip(shard, member_position(shard, "001.png"))
    assert found(done, with_hashes=False) == {}
    assert found(done, mark=True) == {RESULT_DAMAGED: 1}
    assert run(done, "same-command")["done_now"] == 1
    check_whole(done)
    assert {name: row["run_id"] for name, row in rows_of(done).items()} == {
        name: "same-command" if name == "001.png" else "first" for name in before
    }


@pytest.mark.parametrize("where", ["header", "beside", "end"])
@pytest.mark.parametrize("done", ["webdataset"], indirect=True)
def test_tar_that_cannot_be_trusted_is_done_again(done, where):
    shard = rows_of(done)["002.png"]["output_uri"]
    with tarfile.open(shard) as file:
        header, described = file.getmember("002.png"), file.getmember("002.json")
    if where == "end":
        with open(shard, "r+b") as file:
            file.truncate(header.offset_data + 20)
    else:
        flip(shard, header.offset + 3 if where == "header" else described.offset_data + 4)
    assert found(done, mark=True) == {RESULT_DAMAGED: 2 if where == "header" else 4}
    run(done, "same-command")
    check_whole(done)


@pytest.mark.parametrize("done", ["parquet"], indirect=True)
def test_damaged_parquet_shard_is_done_again(done):
    shard = rows_of(done)["000.png"]["output_uri"]
    chunk = pq.ParquetFile(shard).metadata.row_group(0).column(1)
    flip(shard, chunk.data_page_offset + chunk.total_compressed_size // 2)
    assert found(done, mark=True)[RESULT_DAMAGED] >= 1
    run(done, "same-command")
    check_whole(done)


@pytest.mark.parametrize("done", ["webdataset"], indirect=True)
def test_missing_shard_is_done_again(done):
    os.unlink(rows_of(done)["000.png"]["output_uri"])
    assert found(done, with_hashes=False, mark=True) == {RESULT_MISSING: 4}
    assert run(done, "same-command")["done_now"] == 4
    check_whole(done)


def test_marked_sample_of_a_finished_input_shard_is_done_again(here, tmp_path):
    (tmp_path / "x.tar").write_bytes(tar([*pair("a"), *pair("b")]))
    source, sink = SourceConfig("webdataset", str(tmp_path / "x.tar")), SinkConfig(uri=str(tmp_path / "out"))
    config = JobConfig(source=source, mask=MaskConfig("member"), sink=sink)
    run(config, "first")
    flip(rows_of(config)["x.tar/a"]["output_uri"], 100)
    assert found(config, mark=True) == {RESULT_DAMAGED: 1}
    assert run(config, "same-command")["done_now"] == 1
    check_whole(config)


@pytest.mark.parametrize("done", ["images"], indirect=True)
def test_sink_in_use_and_one_that_a_run_changes_meanwhile_are_refused(done, tmp_path, monkeypatch, capsys):
    sink = Storage(done.sink.uri)
    with Lease(sink, "working", renew_s=0.05):
        with pytest.raises(LeaseHeldError, match="held by run working"):
            verify(sink, "verify", False)
        assert verify_job.main([str(tmp_path / "out"), "--mark"]) == 1
    (tmp_path / "out" / "data" / "stray.png").write_bytes(b"its row comes in between")
    listing = Storage.list_files

    def commit_meanwhile(storage, below=""):
        monkeypatch.setattr(Storage, "list_files", listing)
        other = Manifest(sink)
        other.load(["sample_id"])
        other.append(to_table([Record("stray.png", OK, output_uri=f"{tmp_path}/out/data/stray.png")]))
        return listing(storage, below)

    load = Manifest.load_into

    def load_and_wait(manifest, *arguments):
        load(manifest, *arguments)
        monkeypatch.setattr(Manifest, "load_into", load)
        monkeypatch.setattr(Storage, "list_files", commit_meanwhile)

    monkeypatch.setattr(Manifest, "load_into", load_and_wait)
    with pytest.raises(ManifestConflictError):
        verify(sink, "verify", False)


@pytest.mark.parametrize("done", ["images"], indirect=True)
def test_folder_that_is_no_sink_and_a_moved_sink_are_refused(done, tmp_path):
    (tmp_path / "album").mkdir()
    os.rename(tmp_path / "out", tmp_path / "moved")
    for folder, message in (("album", "holds no manifest"), ("moved", "name results elsewhere")):
        with pytest.raises(ConfigError, match=message):
            verify_and_mark(Storage(str(tmp_path / folder)), "verify", True)


@pytest.mark.parametrize("form", SINKS)
def test_object_storage(here, tmp_path, s3_server, form):
    config = four_photos(tmp_path, uri=f"s3://bucket/{tmp_path.name}", format=form, shard_samples=2)
    config = replace(config, storage=s3_server)
    run(config, "first")
    sink = Storage(config.sink.uri, s3_server)
    assert found(config) == {}
    key = sorted(file.key for file in sink.list_files("data"))[0]
    data = bytearray(sink.read(key))
    position = len(data) // 2 if form != "webdataset" else tar_position(data)
    data[position] ^= 1
    sink.write(key, bytes(data))
    assert found(config, with_hashes=False) == {}
    assert found(config, mark=True)[RESULT_DAMAGED] >= 1
    run(config, "same-command")
    assert found(config) == {}


def tar_position(data: bytes | bytearray) -> int:
    with tarfile.open(fileobj=io.BytesIO(data)) as file:
        return file.getmembers()[0].offset_data + 60
