"""What a run says of itself."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from pipeline.cluster.summary import MAY_BE_UPRIGHT
from pipeline.records import FAILED, OK
from tests.pipeline.conftest import four_photos
from tests.pipeline.flow_here import run_here


def test_seconds_of_a_run_do_not_follow_a_wall_clock_that_is_set_back(here, tmp_path):
    config = four_photos(tmp_path)
    run_here(config, "run", lambda rows, total: here.setattr(time, "time", lambda: 0.0))
    timings = json.loads(Path(config.sink.uri, "runs", "run.json").read_text())["timings"]
    assert timings["started_at"] > 1e9 and 0 < timings["run_s"] < 600


@pytest.mark.parametrize("upright", [False, True])
def test_turned_photos_whose_masks_may_be_upright_are_counted(here, tmp_path, upright):
    config = four_photos(tmp_path)
    for name, orientation in (("000", 3), ("001", 6), ("002", 1)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / "photos" / f"{name}.png"
        Image.open(path).save(path, exif=exif)
    config = replace(config, mask=replace(config.mask, upright=upright))
    rows: list[dict] = []
    summary = run_here(config, "run", lambda table, total: rows.extend(table.to_pylist()))
    assert {row["sample_id"]: (row["status"], row["orientation"]) for row in rows} == {
        "000.png": (OK, 3),
        "001.png": (FAILED if upright else OK, 6),  # whose mask has the size of the photo as it is stored
        "002.png": (OK, None),
        "003.png": (OK, None),
    }
    assert summary.warnings == ({} if upright else {MAY_BE_UPRIGHT: 1})
    assert json.loads(Path(config.sink.uri, "runs", "run.json").read_text())["warnings"] == summary.warnings
