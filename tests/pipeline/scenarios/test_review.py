"""People judge results: a review goes out, verdicts and corrected masks come back, and the next run redoes those."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jobs.review import main
from pipeline.config.job import JobConfig, MaskConfig, ModelConfig, RunConfig, SinkConfig, SourceConfig
from pipeline.maintenance.forget import forget
from pipeline.maintenance.vacuum import delete_orphans
from pipeline.manifest.log import Manifest
from pipeline.storage.storage import Storage
from pipeline.verdicts.files import FOLDER, find_keys
from tests.conftest import make_photos
from tests.pipeline.flow_here import run_here


def job(folder: Path, **sink: object) -> JobConfig:
    photos, masks = make_photos(folder)
    return JobConfig(
        source=SourceConfig(uri=str(photos)),
        mask=MaskConfig(uri=str(masks), dilate_px=2),
        model=ModelConfig(weights="untrained"),
        sink=SinkConfig(**{"uri": str(folder / "out"), **sink}),
    )


def rows_of(config: JobConfig) -> dict[str, dict]:
    return {row["sample_id"]: row for row in Manifest(Storage(config.sink.uri)).load().to_pylist()}


def judge(path: Path, **verdicts: str) -> None:
    """Fill in verdicts by the number of the sample, as in a spreadsheet."""
    lines = list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline="")))
    for line in lines:
        line["verdict"] = verdicts.get(f"s{line['sample_id'][:3]}", "good")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows(lines)


def correct(review: Path, sample_id: str) -> np.ndarray:
    """Draw another mask for a sample, half as wide, as with a program for pictures."""
    lines = csv.DictReader(io.StringIO((review / "verdicts.csv").read_text("utf-8-sig"), newline=""))
    (name,) = (line["mask"] for line in lines if line["sample_id"] == sample_id)
    mask = np.asarray(Image.open(review / name)).copy()
    mask[:, 45:] = 0
    Image.fromarray(mask).save(review / "corrected" / Path(name).name)
    return mask > 0


def changed_pixels(config: JobConfig, sample_id: str) -> np.ndarray:
    photo = np.asarray(Image.open(Path(config.source.uri, sample_id)))
    return (photo != np.asarray(Image.open(Path(config.sink.uri, "data", sample_id)))).any(axis=2)


def selecting_bad(config: JobConfig, **changes: object) -> JobConfig:
    return replace(config, run=RunConfig(select="verdict = 'bad'"), **changes)


@pytest.mark.parametrize("select", [None, "verdict = 'bad'"])
def test_bad_results_are_redone_with_corrected_masks_and_a_third_run_does_nothing(tmp_path, here, capsys, select):
    config, review = job(tmp_path), tmp_path / "review"
    run_here(config, "first")
    before = rows_of(config)
    assert main([config.sink.uri, str(review)]) == 0
    assert "6 results to judge" in capsys.readouterr().out
    judge(review / "verdicts.csv", s002="bad", s003="bad")
    hole = correct(review, "003.png")
    assert main([config.sink.uri, "--import", str(review)]) == 0
    said = capsys.readouterr().out
    assert "reviews: 6 (2 bad, 4 good)" in said and "corrected masks: 1" in said
    assert "defects: 33.3 % (95 %: 33.3 % – 33.3 %), 6 of 6 results reviewed" in said

    again = replace(selecting_bad(config, model=replace(config.model, seed=1)), run=RunConfig(select=select))
    again = again if select else config
    second = run_here(again, "second")
    after = rows_of(config)
    redone = {name for name, row in after.items() if row["run_id"] == "second"}
    assert redone == ({"002.png", "003.png"} if select else {"003.png"}) and second.samples["done_now"] == len(redone)
    assert np.array_equal(changed_pixels(config, "003.png"), hole)  # not grown again by dilate_px
    row, (key,) = after["003.png"], find_keys(Storage(config.sink.uri))
    assert row["mask_kind"] == "paired" and row["mask_uri"] == str(tmp_path / "out" / key)
    assert "mask:review-" in row["input_version"] and row["input_version"] != before["003.png"]["input_version"]
    assert row["mask_fraction"] == hole.mean()

    third = run_here(again, "third")
    if select is None:
        assert third.samples["done_now"] == 0
    else:  # the stand-in fills without a seed: 002 has the same result, which is still called bad
        assert {name for name, row in rows_of(config).items() if row["run_id"] == "third"} == {"002.png"}
    assert main([config.sink.uri, "--import", str(review)]) == 0
    assert "imported before, nothing new" in capsys.readouterr().out and len(find_keys(Storage(config.sink.uri))) == 1


@pytest.mark.parametrize("sink_format", ["images", "parquet"])
def test_reviews_survive_clean_up_and_a_forgotten_sample_takes_its_reviews_along(tmp_path, here, sink_format):
    config, review = job(tmp_path, format=sink_format), tmp_path / "review"
    run_here(config)
    sink = Storage(config.sink.uri)
    assert main([config.sink.uri, str(review)]) == 0
    judge(review / "verdicts.csv")
    for name in ("001.png", "004.png"):
        correct(review, name)
    assert main([config.sink.uri, "--import", str(review)]) == 0
    (key,) = find_keys(sink)
    kept = sink.read(key)
    list(delete_orphans(sink, "vacuum"))
    run_here(config, "again")  # redoes the two, replaces results, compacts, and repacks shards
    assert sink.read(key) == kept and rows_of(config)["004.png"]["run_id"] == "again"
    assert forget(sink, ["001.png"], "forget") == 1
    left = pq.read_table(Path(config.sink.uri, key), columns=["sample_id", "corrected_mask"]).to_pydict()
    assert left["sample_id"] == ["000.png", "002.png", "003.png", "004.png", "005.png"]
    assert [mask is not None for mask in left["corrected_mask"]] == [False, False, False, True, False]
    assert find_keys(sink) == [key]
    assert run_here(config, "last").samples["done_now"] == 0  # the other corrected mask is still there
    assert {path.name for path in Path(config.sink.uri, FOLDER).iterdir()} == {Path(key).name}
