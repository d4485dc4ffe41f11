"""Parts of a manifest that are not what was written: each command says so in one line, and there is a way out."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import pipeline.manifest.log
from jobs import contact_sheet, inpaint, plan, report, vacuum
from jobs import forget as forget_job
from pipeline.config.job import JobConfig
from pipeline.errors import DamagedManifestError
from pipeline.manifest.log import Manifest
from pipeline.manifest.parts import encode_part, open_part
from pipeline.records import OK, Record, to_table
from pipeline.storage.storage import Storage
from tests.conftest import ROOT
from tests.pipeline.conftest import four_photos
from tests.pipeline.flow_here import run_here

KEY = "manifest/part-00000000.parquet"


def rows(count: int) -> pa.Table:
    noise = random.Random(0)
    return to_table([Record(f"{i}.png", OK, output_sha256=noise.randbytes(32).hex(), width=i) for i in range(count)])


def read(storage: Storage) -> pa.Table:
    with open_part(storage, KEY) as part:
        return part.read()


@pytest.mark.parametrize(("count", "step"), [(8, 37), (9000, 5003)])
def test_every_flipped_bit_of_a_part_is_noticed(tmp_path, count, step):
    storage, data = Storage(str(tmp_path)), encode_part(rows(count))
    storage.write(KEY, data)
    whole, found = read(storage), 0
    assert whole.equals(pq.read_table(tmp_path / KEY))  # other readers do not mind the hashes
    footer = range(len(data) - 6000, len(data), 101)
    for at in {*range(0, len(data), step), *footer}:
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        (tmp_path / KEY).write_bytes(damaged)
        try:
            assert read(storage).equals(whole)  # a hash itself, or a byte that means nothing
        except DamagedManifestError as error:
            assert str(tmp_path / KEY) in str(error) and "\n" not in str(error)
            found += 1
    assert found > 20


@pytest.mark.parametrize("length", [0, 3, 4, 100, -1])
def test_part_that_is_cut_off_is_noticed(tmp_path, length):
    storage = Storage(str(tmp_path))
    storage.write(KEY, encode_part(rows(8))[:length])
    with pytest.raises(DamagedManifestError, match="is damaged"):
        Manifest(storage).load()


def test_storage_that_does_not_answer_is_no_damage(tmp_path):
    class Away(Storage):
        def open(self, key, block_bytes=None):
            file = super().open(key, block_bytes)

            def fail(size=-1):
                raise OSError("no answer")

            file.read = fail
            return file

    Storage(str(tmp_path)).write(KEY, encode_part(rows(8)))
    with pytest.raises(OSError, match="no answer"):
        Manifest(Away(str(tmp_path))).load()


@pytest.fixture
def done(here, tmp_path) -> JobConfig:
    config = four_photos(tmp_path)
    run_here(config, "first")
    return config


def damage(config: JobConfig) -> Path:
    part = max(Path(config.sink.uri, "manifest").iterdir())
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 4
    part.write_bytes(data)
    return part


def test_every_command_says_which_part_is_damaged_in_one_line(done, tmp_path, capsys):
    job = {
        "base": str(ROOT / "conf" / "laptop.yaml"),
        "source": {"uri": done.source.uri},
        "mask": {"uri": done.mask.uri},
        "sink": {"uri": done.sink.uri},
        "model": {"weights": "untrained"},
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    part, out = damage(done), done.sink.uri
    before = {path: path.read_bytes() for path in Path(out).rglob("*") if path.is_file()}
    for command, *arguments in (
        (inpaint, f"{tmp_path}/job.yaml"),
        (plan, f"{tmp_path}/job.yaml"),
        (report, out),
        (vacuum, out),
        (vacuum, out, "--delete"),
        (forget_job, out, "000.png"),
        (contact_sheet, out, f"{tmp_path}/sheet.png"),
    ):
        capsys.readouterr()
        assert command.main(arguments) == 1, command
        (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("moebius:"))
        assert line.startswith(f"moebius: {part} is damaged (") and "move it out of that folder" in line
    assert {path: path.read_bytes() for path in Path(out).rglob("*") if path.is_file()} == before


def test_part_that_was_moved_away_is_done_again(done, tmp_path):
    damage(done).rename(tmp_path / "damaged.parquet")
    summary = run_here(done, "second")
    assert 0 < summary.samples["done_now"] <= 4
    again = Manifest(Storage(done.sink.uri)).load()
    assert sorted(again["sample_id"].to_pylist()) == [f"00{index}.png" for index in range(4)]
    assert set(again["status"].to_pylist()) == {OK}


def test_rest_of_a_snapshot_counts_when_its_last_part_was_moved_away(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline.manifest.log, "SNAPSHOT_ROWS", 3)
    storage = Storage(str(tmp_path))
    manifest = Manifest(storage)
    for start in (0, 4):
        manifest.append(rows(8).slice(start, 4))
    manifest.load(["sample_id"])
    manifest.compact(max_parts=1)
    parts = sorted((tmp_path / "manifest").iterdir())
    assert len(parts) > 1
    parts[-1].unlink()
    rest = Manifest(storage)
    assert rest.load().num_rows == sum(pq.read_metadata(part).num_rows for part in parts[:-1]) > 0
    rest.append(rows(8).slice(7))
    rest.compact(max_parts=0)
    assert Manifest(storage).load()["sample_id"].to_pylist().count("7.png") == 1
