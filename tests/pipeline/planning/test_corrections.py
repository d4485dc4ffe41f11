"""Reviews in plans: verdicts that ``run.select`` names, and corrected masks."""

import hashlib
import logging
import tarfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipeline.config.job import JobConfig, MaskConfig, RunConfig, SinkConfig, SourceConfig
from pipeline.database import Database
from pipeline.errors import ConfigError
from pipeline.manifest.log import Manifest
from pipeline.masks.registry import MASK_KINDS
from pipeline.planning.finished_shards import FinishedShards
from pipeline.planning.listing import find_samples
from pipeline.planning.plan import make_plan
from pipeline.review.pictures import encode_mask
from pipeline.sources.reader import Reader
from pipeline.storage.storage import Storage
from pipeline.verdicts.files import SCHEMA, create_file, find_keys
from pipeline.worker.sample import new_record, prepare
from tests.conftest import make_photos
from tests.pipeline.flow_here import run_here

NOW = datetime.now(UTC)
SHAPE = 80, 96


@pytest.fixture
def config(tmp_path, here) -> JobConfig:
    """A job over three photos that has ended."""
    photos, masks = make_photos(tmp_path, count=3)
    config = JobConfig(
        source=SourceConfig(uri=str(photos)),
        mask=MaskConfig(uri=str(masks)),
        model=replace(JobConfig().model, weights="untrained"),
        sink=SinkConfig(uri=str(tmp_path / "out")),
    )
    run_here(config)
    return config


def rows_of(config: JobConfig) -> dict[str, dict]:
    return {row["sample_id"]: row for row in Manifest(Storage(config.sink.uri)).load().to_pylist()}


def hole(left: int = 50) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[5:15, left:60] = True
    return mask


def review(config: JobConfig, name: str, mask: np.ndarray | None = None, **columns) -> str:
    """Store a review of a sample's present result, and return the key of its file."""
    row, sink = rows_of(config)[name], Storage(config.sink.uri)
    png = None if mask is None else encode_mask(mask)
    made = {
        "sample_id": name,
        "reviewed_at": NOW,
        "imported_at": NOW,
        "output_sha256": row["output_sha256"],
        "file_version": row["input_version"].partition(" mask:")[0],
        "corrected_mask": png,
        "corrected_sha256": png and hashlib.sha256(png).hexdigest(),
        "corrected_bytes": png and len(png),
    }
    key = create_file(sink, pa.Table.from_pylist([{**made, **columns}], SCHEMA), str(len(find_keys(sink))).encode())
    assert key
    return key


def planned(config: JobConfig) -> dict[str, str]:
    """The samples to do, and why."""
    with Database() as database:
        manifest = Manifest(Storage(config.sink.uri))
        weights = next(iter(rows_of(config).values()))["weights_fingerprint"]
        find_samples(config, database, FinishedShards(config, weights, manifest, database))
        make_plan(config, database, weights, manifest)
        return dict(database.run("SELECT sample_id, reason FROM planned WHERE reason IS NOT NULL"))


def selecting(config: JobConfig, expression: str) -> JobConfig:
    return replace(config, run=RunConfig(select=expression))


@pytest.mark.parametrize(
    ("expression", "selected"),
    [
        ("verdict = 'bad'", {"001.png"}),
        ("Verdict IS NULL", {"002.png"}),
        ("note LIKE '%smear%' AND reviewer = 'ada'", {"001.png"}),
        ("reviewed_at < now() AND verdict = 'good'", {"000.png"}),
        ("sample_id IN (SELECT sample_id FROM rows WHERE verdict = 'good')", {"000.png"}),
    ],
)
def test_selection_may_name_the_latest_review_of_the_present_result(config, expression, selected):
    review(config, "000.png", verdict="bad", reviewed_at=datetime(2026, 1, 1, tzinfo=UTC))
    review(config, "000.png", verdict="good")
    review(config, "001.png", verdict="bad", note="smeared", reviewer="ada")
    review(config, "002.png", verdict="bad", output_sha256="of an earlier result")
    assert planned(selecting(config, expression)) == dict.fromkeys(selected, "selected")


def test_selection_by_reviews_needs_no_review_and_unknown_columns_are_refused(config):
    assert planned(selecting(config, "verdict = 'bad'")) == {}
    with pytest.raises(ConfigError, match=r"^run\.select=.*Binder Error.*verdikt"):
        planned(selecting(config, "verdikt = 'bad'"))


def test_corrected_mask_makes_its_sample_a_changed_one_until_it_is_done(config):
    key = review(config, "001.png", hole())
    assert planned(config) == {"001.png": "changed"}
    run_here(config, "second")
    row = rows_of(config)["001.png"]
    assert planned(config) == {} and row["mask_uri"] == f"{config.sink.uri}/{key}" and row["run_id"] == "second"
    assert row["mask_fraction"] == hole().mean()
    review(config, "001.png", hole(left=20), reviewed_at=datetime(2020, 1, 1, tzinfo=UTC))  # not the latest
    assert planned(config) == {}
    review(config, "001.png", hole(left=40), imported_at=datetime.now(UTC))
    assert planned(config) == {"001.png": "changed"}
    run_here(config, "third")
    assert planned(config) == {} and rows_of(config)["001.png"]["mask_fraction"] == hole(left=40).mean()


def test_corrected_mask_of_another_photo_is_not_used_and_told(config, caplog):
    review(config, "001.png", hole())
    photo = Path(config.source.uri, "001.png")
    photo.write_bytes(photo.read_bytes() + b" ")
    with caplog.at_level(logging.WARNING):
        assert planned(config) == {"001.png": "changed"}
    assert "1 corrected masks are of photos that have changed since, such as 001.png: not used" in caplog.text
    run_here(config, "second")
    assert rows_of(config)["001.png"]["mask_uri"].endswith("masks/001.png") and planned(config) == {}


def test_sample_without_a_mask_can_be_given_one(config):
    Path(config.mask.uri, "001.png").unlink()
    run_here(config, "second")
    assert rows_of(config)["001.png"]["error_type"] == "MissingMask"
    review(config, "001.png", hole())
    run_here(config, "third")
    assert rows_of(config)["001.png"]["status"] == "ok" and planned(config) == {}


def test_empty_corrected_mask_leaves_the_photo_as_it_is(config):
    review(config, "001.png", np.zeros(SHAPE, bool))
    run_here(config, "second")
    assert rows_of(config)["001.png"]["status"] == "unchanged"
    photo, result = (Path(folder, "001.png").read_bytes() for folder in (config.source.uri, f"{config.sink.uri}/data"))
    assert photo == result


def test_corrected_mask_that_is_gone_fails_its_sample_with_the_reason(config):
    key = review(config, "001.png", hole())
    with Database() as database:
        find_samples(config, database)
        query = "SELECT * FROM samples WHERE sample_id = '001.png'"
        (sample,) = [row for table in database.stream(query, 1) for row in table.to_pylist()]
    (inputs,) = Reader(config).read_all([{**sample, "sample_id": "002.png", "file": "001.png"}])
    assert inputs.kind == "BrokenReview" and f"{key}" in inputs.message and inputs.stage == "mask"
    Path(config.sink.uri, key).write_bytes(b"PAR1")
    (inputs,) = Reader(config).read_all([sample])
    assert inputs.kind == "BrokenReview"
    Path(config.sink.uri, key).unlink()
    (inputs,) = Reader(config).read_all([sample])
    assert inputs.kind == "FileNotFound"


@pytest.mark.parametrize("kind", ["alpha", "text", "paired", "static"])
def test_corrected_mask_is_a_picture_of_the_hole_whatever_the_kind_of_masks_is(config, kind):
    assert kind in MASK_KINDS
    review(config, "001.png", hole())
    uri = str(Path(config.mask.uri, "001.png")) if kind == "static" else config.mask.uri
    other = replace(config, mask=MaskConfig(kind=kind, uri=uri, invert=True, dilate_px=3, close_px=2, threshold=0.9))
    with Database() as database:
        if kind in ("paired", "static"):
            find_samples(other, database)
        else:  # which need packages, or have versions without masks
            find_samples(replace(other, mask=MaskConfig(kind="alpha")), database)
        query = "SELECT * FROM samples WHERE sample_id = '001.png'"
        (sample,) = [row for table in database.stream(query, 1) for row in table.to_pylist()]
    reader = Reader(other)
    (inputs,) = reader.read_all([sample])
    record = new_record(sample, other, reader, "w", "r")
    job = prepare(record, inputs, other, 64)
    assert np.array_equal(job.mask, hole()) and job.photo.pixels.shape == (*SHAPE, 3)
    assert record.mask_kind == kind and "/reviews/" in record.mask_uri
    assert np.array_equal(job.photo.pixels, np.asarray(Image.open(Path(config.source.uri, "001.png"))))


@pytest.mark.parametrize("kind", ["member", "static"])
def test_corrected_mask_of_a_sample_in_a_shard_is_used_once_and_the_other_samples_stay(config, tmp_path, kind):
    (tmp_path / "shards").mkdir()
    for shard in range(2):
        with tarfile.open(tmp_path / "shards" / f"{shard}.tar", "w") as tar:
            for number in range(3):
                tar.add(Path(config.source.uri, f"{number:03}.png"), f"{number}.png")
                tar.add(Path(config.mask.uri, f"{number:03}.png"), f"{number}.mask.png")
    mask = MaskConfig(kind="member") if kind == "member" else MaskConfig(kind=kind, uri=f"{config.mask.uri}/000.png")
    source, sink = (
        SourceConfig(format="webdataset", uri=str(tmp_path / "shards")),
        SinkConfig(uri=str(tmp_path / "tar")),
    )
    sharded = replace(config, source=source, mask=mask, sink=replace(sink, format="webdataset"))
    run_here(sharded)
    name = "1.tar/1.png" if "1.tar/1.png" in rows_of(sharded) else "1.tar/1"
    key = review(sharded, name, hole())
    assert planned(sharded) == {name: "changed"}
    assert run_here(sharded, "second").samples["done_now"] == 1
    row = rows_of(sharded)[name]
    assert (
        row["mask_fraction"] == hole().mean()
        and row["mask_uri"].endswith(key)
        and " of 3 mask:" in row["input_version"]
    )
    assert planned(sharded) == {} and run_here(sharded, "third").samples["found"] == 6
