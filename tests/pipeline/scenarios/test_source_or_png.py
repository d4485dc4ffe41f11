"""``sink.image_format=source-or-png``: PNG only where a format cannot be written, and no two results share a name."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.config.job import JobConfig, MaskConfig, SinkConfig, SourceConfig
from pipeline.manifest.log import Manifest
from pipeline.storage.storage import Storage
from tests.conftest import textured
from tests.pipeline.flow_here import run_here

PHOTO = Image.fromarray(textured(24, 64))


@pytest.fixture
def config(tmp_path) -> JobConfig:
    mask = np.zeros((24, 64), np.uint8)
    mask[5:10, 20:30] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    (tmp_path / "photos").mkdir()
    return JobConfig(
        source=SourceConfig(uri=str(tmp_path / "photos")),
        mask=MaskConfig("static", uri=str(tmp_path / "mask.png")),
        sink=SinkConfig(str(tmp_path / "out"), image_format="source-or-png"),
    )


def add(config: JobConfig, name: str, container: str) -> None:
    PHOTO.save(Path(config.source.uri) / name, container)


def rows_of(config: JobConfig) -> dict[str, dict]:
    return {row["sample_id"]: row for row in Manifest(Storage(config.sink.uri)).load().to_pylist()}


def test_each_image_keeps_its_format_and_name_and_what_cannot_becomes_a_png(here, config):
    for name, container in (
        ("a.jpg", "JPEG"),
        ("b.png", "PNG"),
        ("c.gif", "GIF"),
        ("d.avif", "AVIF"),
        ("e.PNG", "GIF"),
    ):
        add(config, name, container)
    run_here(config)
    rows = rows_of(config)
    names = {name: Path(row["output_uri"]).name for name, row in rows.items()}
    assert names == {"a.jpg": "a.jpg", "b.png": "b.png", "c.gif": "c.gif.png", "d.avif": "d.avif.png", "e.PNG": "e.PNG"}
    for name, row in rows.items():
        assert Image.open(row["output_uri"]).format == ("JPEG" if name == "a.jpg" else "PNG")
        assert row["output_format"] == ("jpeg" if name == "a.jpg" else "png")
    before = np.asarray(Image.open(Path(config.source.uri) / "c.gif").convert("RGB"))
    after = np.asarray(Image.open(rows["c.gif"]["output_uri"]))
    hole = np.asarray(Image.open(config.mask.uri)) > 0
    assert np.array_equal(after[~hole], before[~hole]) and not np.array_equal(after[hole], before[hole])


def test_image_without_a_hole_is_passed_through_in_its_own_format(here, config):
    Image.new("L", (64, 24)).save(config.mask.uri)
    add(config, "c.gif", "GIF")
    run_here(config)
    row = rows_of(config)["c.gif"]
    assert (row["status"], row["output_format"], Path(row["output_uri"]).name) == ("unchanged", "gif", "c.gif")
    assert Path(row["output_uri"]).read_bytes() == (Path(config.source.uri) / "c.gif").read_bytes()


def test_samples_whose_results_would_share_a_name_are_both_refused_and_a_result_stays(here, config):
    add(config, "c.gif", "GIF")
    add(config, "other.gif", "GIF")
    run_here(config)
    before = Path(rows_of(config)["c.gif"]["output_uri"]).read_bytes()
    add(config, "c.gif.png", "PNG")
    run_here(config, "again")
    rows = rows_of(config)
    assert {name: row["error_type"] for name, row in rows.items()} == {
        "c.gif": None,
        "other.gif": None,
        "c.gif.png": "DuplicateKey",
    }
    assert Path(rows["c.gif"]["output_uri"]).read_bytes() == before


@pytest.mark.parametrize("sink", ["webdataset", "parquet"])
def test_shards_take_what_cannot_be_written_as_png(here, config, sink):
    config = JobConfig(config.source, config.mask, sink=SinkConfig(config.sink.uri, sink, "source-or-png"))
    for name, container in (("a.jpg", "JPEG"), ("c.gif", "GIF"), ("c.gif.png", "PNG")):
        add(config, name, container)
    run_here(config)
    assert {name: row["output_format"] for name, row in rows_of(config).items()} == {
        "a.jpg": "jpeg",
        "c.gif": "png",
        "c.gif.png": "png",
    }
