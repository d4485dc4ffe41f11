"""``sink.metadata`` in whole jobs: each result as the policy says, and a row that tells where it could not be."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.config.job import JobConfig, MaskConfig, RunConfig, SinkConfig, SourceConfig
from pipeline.errors import ConfigError
from pipeline.manifest.log import Manifest
from pipeline.storage.storage import Storage
from tests.pipeline.codecs.metadata.telltale_photos import PHOTO, PHOTOS, XMP
from tests.pipeline.codecs.metadata.test_policy import COMPOSITE, SOURCE_TYPE, read, secrets_in
from tests.pipeline.flow_here import run_here

NAMES = {"a.jpg": "jpeg", "b.png": "png", "c.webp": "webp", "d.tif": "tiff"}
BROKEN = "e.jpg"


@pytest.fixture
def config(tmp_path) -> JobConfig:
    """Photos with a hole and without, one of them with broken XMP, and formats that hold no XMP."""
    photos, masks = tmp_path / "photos", tmp_path / "masks"
    for folder in (photos, masks):
        (folder / "whole").mkdir(parents=True)
    hole = np.zeros((64, 96), np.uint8)
    hole[20:40, 30:50] = 255
    for name, case in NAMES.items():
        (photos / name).write_bytes(PHOTOS[case])
        (photos / "whole" / name).write_bytes(PHOTOS[case])
    (photos / BROKEN).write_bytes(PHOTOS["jpeg"].replace(XMP[-60:], b"<" * 60))
    PHOTO.save(photos / "f.bmp")
    for path in photos.rglob("*.*"):
        mask = Image.fromarray(hole * ("whole" not in str(path)))
        mask.save(masks / path.relative_to(photos).with_suffix(".png"))
    return JobConfig(
        source=SourceConfig(uri=str(photos)), mask=MaskConfig(uri=str(masks)), sink=SinkConfig(str(tmp_path / "out"))
    )


def rows_of(config: JobConfig) -> dict[str, dict]:
    return {row["sample_id"]: row for row in Manifest(Storage(config.sink.uri)).load().to_pylist()}


def result(row: dict) -> bytes:
    return Path(row["output_uri"]).read_bytes()


def test_marked_job_counts_what_it_could_not_mark(here, config):
    config = replace(config, sink=replace(config.sink, metadata="mark"))
    summary = run_here(config)
    rows = rows_of(config)
    for name in NAMES:
        _, _, xmp = read(result(rows[name]))
        assert xmp[SOURCE_TYPE] == COMPOSITE and rows[name]["metadata_note"] is None
        whole = rows[f"whole/{name}"]
        assert whole["status"] == "unchanged" and result(whole) == PHOTOS[NAMES[name]]
    assert rows[BROKEN]["metadata_note"] == "not marked: its XMP cannot be read"
    assert rows["f.bmp"]["metadata_note"] == "not marked: BMP has no room for XMP"
    assert b"<" * 60 in result(rows[BROKEN])
    start = "results with less metadata than sink.metadata promises: not marked: "
    assert summary.warnings == {f"{start}its XMP cannot be read": 1, f"{start}BMP has no room for XMP": 1}


def test_marked_job_makes_the_same_bytes_again(here, config):
    hashes = []
    for out in ("one", "two"):
        run_here(again := replace(config, sink=SinkConfig(f"{config.sink.uri}/{out}", metadata="mark")))
        hashes.append({name: row["output_sha256"] for name, row in rows_of(again).items()})
    assert hashes[0] == hashes[1]


def test_private_job_leaves_no_secret_in_any_result_without_a_hole_too(here, config):
    config = replace(config, sink=replace(config.sink, metadata="private"))
    run_here(config)
    rows = rows_of(config)
    assert {row["status"] for row in rows.values()} == {"ok", "unchanged"}
    for name, row in rows.items():
        assert secrets_in(result(row)) == [], name
        assert row["metadata_note"] is None
    assert rows["whole/a.jpg"]["blocks_changed"] == 0


def test_private_gif_without_a_hole_fails_with_the_format_to_set(here, config):
    folder = Path(config.source.uri)
    for path in folder.rglob("*.*"):
        path.unlink()
    PHOTO.convert("P").save(folder / "whole" / "g.gif", comment=b"my comment")
    Image.new("L", PHOTO.size).save(f"{config.mask.uri}/whole/g.png")
    run_here(replace(config, sink=replace(config.sink, metadata="private")))
    (row,) = rows_of(config).values()
    assert row["status"] == "failed" and "sink.image_format=source-or-png" in row["error_message"]
    sink = SinkConfig(f"{config.sink.uri}/png", metadata="private", image_format="source-or-png")
    run_here(config := replace(config, sink=sink))
    (row,) = rows_of(config).values()
    assert row["status"] == "unchanged" and secrets_in(result(row)) == []


def test_other_policy_on_the_same_sink_is_refused_and_redone_on_request(here, config):
    run_here(config)
    private = replace(config, sink=replace(config.sink, metadata="private"))
    with pytest.raises(ConfigError, match=r"sink\.metadata keep → private"):
        run_here(private)
    run_here(replace(private, run=RunConfig(redo_changed=True)))
    assert not any(secrets_in(result(row)) for row in rows_of(config).values())
