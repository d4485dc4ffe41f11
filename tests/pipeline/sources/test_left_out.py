"""What a job says of files that are no samples."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline.codecs.identification.kinds
import pipeline.sources.left_out
from jobs.plan import main as plan
from pipeline.config.job import JobConfig, MaskConfig, SinkConfig, SourceConfig
from pipeline.database import Database
from pipeline.errors import ConfigError
from pipeline.planning.listing import find_samples
from pipeline.sources.left_out import KINDS, LeftOut, describe_left_out
from pipeline.storage.storage import StoredFile
from tests.pipeline.conftest import four_photos
from tests.pipeline.flow_here import run_here
from tests.pipeline.scenarios.test_hostile_shards import IMAGE, pair, tar


@pytest.fixture
def without_heic(monkeypatch):
    for module in (pipeline.codecs.identification.kinds, pipeline.sources.left_out):
        monkeypatch.setattr(module, "heic_is_installed", lambda: False)


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(IMAGE)
    return folder


def found(config: JobConfig) -> tuple[set[str], dict[str, int]]:
    """Samples of a job and what its plan leaves out."""
    with Database() as database:
        left_out = find_samples(config, database)
        return {name for (name,) in database.run("SELECT sample_id FROM samples")}, left_out


def job(folder: Path, form: str = "images", **source) -> JobConfig:
    return JobConfig(SourceConfig(form, str(folder), **source), MaskConfig("alpha"), sink=SinkConfig(f"{folder}/out"))


@pytest.mark.parametrize(
    "folder", [".thumbnails", ".ipynb_checkpoints", ".Trash-1000/files", "@eaDir", "__MACOSX", ".git", "#recycle"]
)
def test_folders_of_tools_hold_no_samples(folder, tmp_path):
    fill(tmp_path, "a.png", "@eaDirs/b.png", f"{folder}/a.png", f"c/{folder}/a.png")
    assert found(job(tmp_path)) == ({"a.png", "@eaDirs/b.png"}, {"hidden": 2})


def test_everything_beside_images_is_counted_by_kind(without_heic, tmp_path):
    fill(
        tmp_path, "a.JPG", "b.mpo", "c.HEIC", "d.heic", "e.psd", "f", ".DS_Store", "g.jpg.crdownload", "out/runs/r.json"
    )
    (tmp_path / "h.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "i.jpg").symlink_to(tmp_path / "i.jpg")
    samples, left_out = found(job(tmp_path))
    assert samples == {"a.JPG", "b.mpo"}
    assert left_out == {
        ".heic": 2, "link to nothing": 2, ".crdownload": 1, ".psd": 1, "hidden": 1, "without extension": 1
    }  # fmt: skip
    assert next(iter(left_out)) == ".heic"


def test_results_and_masks_to_which_links_lead_are_no_samples(here, tmp_path):
    photos, masks = fill(tmp_path / "photos", "a.png", "b/c.png"), fill(tmp_path / "masks", "a.png", "b/c.png")
    for name in ("masks", "out"):
        (photos / name).symlink_to(tmp_path / name)
    (photos / "b" / "more").symlink_to(masks / "b")
    (photos / "same").symlink_to(fill(tmp_path / "other", "d.png"))
    config = JobConfig(SourceConfig(uri=str(photos)), MaskConfig(uri=str(masks)), sink=SinkConfig(f"{tmp_path}/out"))
    run_here(config, "first")
    assert list(tmp_path.glob("out/manifest/*"))
    assert found(config) == ({"a.png", "b/c.png", "same/d.png"}, {})


def test_photos_below_the_masks_folder_are_samples(tmp_path):
    fill(tmp_path, "photos/a.png", "photos/b/c.png", "masks/a.png", "masks/c.png")
    mask = MaskConfig(uri=str(tmp_path), template="masks/{stem}.png")
    assert found(replace(job(tmp_path / "photos"), mask=mask))[0] == {"a.png", "b/c.png"}


def test_masks_that_no_image_takes_are_counted(here, tmp_path):
    names = ("dog/0.png", "b\n.png", ".c.png", ".trash/a.png", "x/@eaDir/a.png", "x/$Recycle.Bin/a.png", "d.txt")
    photos, masks = fill(tmp_path / "photos", "a.png", "b.png"), fill(tmp_path / "masks", "a.PNG", "a_1.png", *names)
    source, sink = SourceConfig(uri=str(photos)), SinkConfig(f"{tmp_path}/out")
    config = JobConfig(source, MaskConfig(uri=str(masks)), sink=sink)
    for run in ("first", "second"):
        assert run_here(config, run).left_out == {"masks without an image": 3}
    for other in (
        replace(config, source=replace(source, pattern="a*")),
        replace(config, mask=MaskConfig(uri=str(tmp_path), template="masks/{stem}.PNG")),  # holds photos and results
        replace(config, mask=MaskConfig("static", f"{masks}/a.PNG")),
    ):
        assert found(other)[1] == {}


def test_files_that_the_pattern_does_not_want_are_not_counted(tmp_path):
    fill(tmp_path, "a.png", "b.psd", "c/d.psd")
    assert found(job(tmp_path, pattern="*")) == ({"a.png"}, {".psd": 1})


def test_heic_files_are_samples_where_they_can_be_read(monkeypatch, tmp_path):
    monkeypatch.setattr(pipeline.codecs.identification.kinds, "heic_is_installed", lambda: True)
    fill(tmp_path, "a.HEIC", "b.heif")
    assert found(job(tmp_path)) == ({"a.HEIC", "b.heif"}, {})


def test_folder_of_heic_alone_names_what_is_needed(without_heic, tmp_path):
    fill(tmp_path, "a.HEIC", "b.HEIC", ".c.png")
    message = (
        r"no image below .* matches .*; left out: 2 \.heic \(need pillow-heif: pip install .*\[heic\].*\), 1 hidden$"
    )
    with pytest.raises(ConfigError, match=message):
        found(job(tmp_path))


def test_shards_that_are_not_taken_are_counted(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar(pair("7")))
    fill(tmp_path, "._a.tar", "b.tar.lz4", "c.zip", "d.txt", "e.txt")
    assert found(job(tmp_path, "webdataset"))[1] == {".txt": 2, ".tar.lz4": 1, ".zip": 1, "hidden": 1}
    with pytest.raises(ConfigError, match=r"no shard .* matches 'b\*'; left out: 1 \.tar\.lz4$"):
        found(job(tmp_path, "webdataset", pattern="b*"))


def test_parquet_files_in_any_case_are_taken_and_others_counted(tmp_path):
    for name in ("a.PARQUET", "b.Parquet", "c.parq"):
        pq.write_table(pa.table({"image": [IMAGE]}), tmp_path / name)
    fill(tmp_path, "_SUCCESS", ".a.parquet.crc", "d.csv", "_metadata/0.json")
    samples, left_out = found(job(tmp_path, "parquet"))
    assert samples == {"a.PARQUET#0", "b.Parquet#0", "c.parq#0"}
    assert left_out == {"hidden": 3, ".csv": 1}
    with pytest.raises(ConfigError, match=r"matches '\*\.csv'; left out: 1 \.csv$"):
        found(job(tmp_path, "parquet", pattern="*.csv"))


def test_rare_kinds_are_one(tmp_path):
    left_out = LeftOut()
    files = [StoredFile(f"{index}.x{index % 30}", 0, "") for index in range(30 + KINDS)]
    assert list(left_out.sift(files, lambda key: False)) == []
    counts = left_out.by_kind()
    assert len(counts) == KINDS + 1 and list(counts)[-1] == "other" and sum(counts.values()) == len(files)
    assert counts["other"] == 10 and describe_left_out(counts).endswith(", 10 other")


def test_plan_and_run_file_say_what_was_left_out(here, without_heic, tmp_path, capsys):
    config = four_photos(tmp_path)
    fill(Path(config.source.uri), "x.HEIC", "y.psd", ".z.png")
    settings = [f"{key}.uri={getattr(config, key).uri}" for key in ("source", "mask", "sink")]
    (tmp_path / "job.yaml").write_text("{}")
    assert plan([str(tmp_path / "job.yaml"), *settings]) == 0
    assert "left out:       1 .heic (need pillow-heif: pip" in (told := capsys.readouterr().out)
    assert "), 1 .psd, 1 hidden\n" in told
    for run in ("first", "second"):
        run_here(config, run)
        written = json.loads(Path(config.sink.uri, "runs", f"{run}.json").read_text())
        assert written["left_out"] == {".heic": 1, ".psd": 1, "hidden": 1}


def test_finished_shards_are_not_left_out(here, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.tar").write_bytes(tar(pair("7")))
    fill(folder, "b.txt")
    config = replace(job(folder, "webdataset"), mask=MaskConfig("member"), sink=SinkConfig(str(tmp_path / "out")))
    for run in ("first", "second"):
        assert run_here(config, run).left_out == {".txt": 1}
