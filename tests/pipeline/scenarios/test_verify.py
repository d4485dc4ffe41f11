"""Verified removal in whole jobs: text is written over photos, found, filled, and looked for again."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest
from PIL import Image, ImageDraw, ImageFont

from pipeline.config.job import JobConfig, LimitsConfig, MaskConfig, ModelConfig, SinkConfig, SourceConfig
from pipeline.config.verify import VerifyConfig
from pipeline.executor.local import LocalExecutor
from pipeline.worker.actor import InpaintActor
from tests.conftest import ROOT
from tests.pipeline.flow_here import HERE, run_here

PHOTOS = sorted((ROOT / "tests" / "photos" / "images").iterdir())
MODEL = LocalExecutor(InpaintActor)
SHOWN = {"sample_id", "status", "error_type", "residual", "tries", "seed", "mask_fraction", "output_sha256"}


@pytest.fixture
def captioned(tmp_path):
    """A job over three photos with words and one without; its masks are the words that a detector finds."""
    pytest.importorskip("rapidocr")
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        photo = Image.open(PHOTOS[number % len(PHOTOS)]).convert("RGB").resize((240, 160))
        if number:
            place = (20, 30 * number)
            ImageDraw.Draw(photo).text(place, "SAMPLE PHOTO", font=ImageFont.load_default(24), fill="white")
        photo.save(folder / f"{number}.png")
    return JobConfig(
        source=SourceConfig(uri=str(folder)),
        mask=MaskConfig(kind="text"),
        model=ModelConfig(weights="nano", steps=2, guidance=1.0),
        sink=SinkConfig(uri=str(tmp_path / "out")),
        verify=VerifyConfig(model="mask"),
        limits=LimitsConfig(max_failed_fraction=1.0),
    )


def run(config: JobConfig, executor=MODEL):
    return run_here(config, "run", lambda rows, total: None, executor)


def rows_of(config: JobConfig) -> dict[str, dict]:
    table = ds.dataset(Path(config.sink.uri, "manifest"), format="parquet").to_table()
    return {row["sample_id"]: {key: row[key] for key in SHOWN} for row in table.to_pylist()}


def test_text_is_removed_and_its_absence_is_in_the_manifest(model_here, captioned):
    summary = run(captioned)
    rows = rows_of(captioned)
    filled = [row for row in rows.values() if row["status"] == "ok"]
    assert len(filled) >= 3 and all(row["residual"] == 0 and row["tries"] >= 1 for row in filled)
    assert all(row["tries"] is None for row in rows.values() if row["status"] == "unchanged")
    assert sum(summary.verified.values()) == len(filled)
    kept = json.loads(Path(captioned.sink.uri, "runs", "run.json").read_text())
    assert kept["verified"] == summary.verified and kept["configuration"]["verify"]["model"] == "mask"


@pytest.mark.parametrize("residue", ["keep", "fail"])
def test_what_no_try_removes_is_kept_or_fails(here, captioned, residue):
    """The whole photo is looked at, and the mask is one corner of it: what is written elsewhere stays."""
    corner = Path(captioned.source.uri).parent / "corner.png"
    mask = np.zeros((160, 240), np.uint8)
    mask[:12, :12] = 255
    Image.fromarray(mask).save(corner)
    verify = VerifyConfig(model="text", around_px=240, residue=residue, ladder=["seed", "noise"])
    config = replace(captioned, mask=MaskConfig(kind="static", uri=str(corner)), verify=verify)
    run(config, HERE)
    left = [rows_of(config)[f"{number}.png"] for number in (1, 2, 3)]
    assert all(row["residual"] > 0 and row["tries"] == 3 for row in left)
    assert {(row["status"], row["error_type"]) for row in left} == {
        ("failed", "ResidueLeft") if residue == "fail" else ("ok", None)
    }


def test_results_are_those_of_a_job_without_verification_where_the_first_try_is_clean(model_here, captioned, tmp_path):
    run(captioned)
    plain = replace(captioned, verify=VerifyConfig(), sink=SinkConfig(uri=str(tmp_path / "plain")))
    run(plain)
    verified, unverified = rows_of(captioned), rows_of(plain)
    clean = [name for name, row in verified.items() if row["tries"] == 1]
    assert clean and all(verified[name]["output_sha256"] == unverified[name]["output_sha256"] for name in clean)
    assert captioned.fingerprint != plain.fingerprint
