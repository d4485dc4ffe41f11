"""Names that look the same, and are written in two forms of Unicode."""

import json
from pathlib import Path
from unicodedata import normalize

import pytest

from pipeline.config.job import JobConfig, MaskConfig, SinkConfig, SourceConfig
from pipeline.database import Database
from pipeline.planning.listing import find_samples
from pipeline.records import OK
from tests.pipeline.flow_here import run_here
from tests.pipeline.scenarios.test_hostile_shards import IMAGE, MASK

NAMES = ["café", "Müller", "학점"]
RING = ["\u00c5", "A\u030a", "\u212b"]  # three ways to write one letter


def job(folder: Path, images: list[str], masks: list[str], **mask) -> JobConfig:
    for name, names, content in (("photos", images, IMAGE), ("masks", masks, MASK)):
        (folder / name).mkdir(exist_ok=True)
        for file in names:
            (folder / name / file).write_bytes(content)
    mask = {"uri": str(folder / "masks"), **mask}
    return JobConfig(SourceConfig(uri=str(folder / "photos")), MaskConfig(**mask), sink=SinkConfig(str(folder / "out")))


def pairs(config: JobConfig) -> dict[str, tuple[str | None, str | None]]:
    """Mask and kind of fault by sample."""
    with Database() as database:
        find_samples(config, database)
        rows = database.run("SELECT sample_id, mask_key, split_part(fault, ':', 1) FROM samples")
        return {name: (mask, fault) for name, mask, fault in rows}


@pytest.mark.parametrize(("images", "masks"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_mask_is_found_in_the_other_form(here, tmp_path, images, masks):
    photos = [normalize(images, f"{name}.jpg") for name in NAMES]
    config = job(tmp_path, photos, [normalize(masks, f"{name}.png") for name in NAMES])
    summary = run_here(config)
    assert summary.samples[OK] == len(NAMES)
    assert run_here(config, "again").samples["done_now"] == 0
    (tmp_path / "masks" / normalize(masks, f"{NAMES[0]}.png")).write_bytes(MASK + b"\0")
    assert run_here(config, "changed").samples["done_now"] == 1


def test_mask_of_a_template_is_found_in_the_other_form(tmp_path):
    config = job(tmp_path, ["é.png", "e\u0301_m.png"], [], uri=str(tmp_path / "photos"), template="{stem}_m.png")
    assert pairs(config) == {"é.png": ("e\u0301_m.png", None)}


def test_exact_name_comes_first(tmp_path):
    photos, masks = [f"{ring}.jpg" for ring in RING[:2]], [f"{ring}.png" for ring in RING[:2]]
    assert pairs(job(tmp_path, photos, masks)) == {
        image: (mask, None) for image, mask in zip(photos, masks, strict=True)
    }


def test_mask_of_another_image_is_not_taken(tmp_path):
    photos = [f"{ring}.jpg" for ring in RING[:2]]
    assert pairs(job(tmp_path, photos, [f"{RING[0]}.png"])) == {
        photos[0]: (f"{RING[0]}.png", None),
        photos[1]: (None, None),
    }


def test_same_path_comes_before_the_same_stem(tmp_path):
    masks = [f"{RING[1]}.jpg", f"{RING[1]}.png"]
    assert pairs(job(tmp_path, [f"{RING[0]}.jpg"], masks)) == {f"{RING[0]}.jpg": (masks[0], None)}


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ([f"{RING[0]}.jpg"], [f"{ring}.png" for ring in RING[1:]]),
        ([f"{ring}.jpg" for ring in RING[1:]], [f"{RING[0]}.png"]),
    ],
)
def test_several_that_could_be_meant_are_a_fault(here, tmp_path, images, masks):
    config = job(tmp_path, images, masks)
    assert pairs(config) == {image: (None, "AmbiguousMask") for image in images}
    assert run_here(config).errors == {"AmbiguousMask": len(images)}


def test_annotations_are_found_in_the_other_form(tmp_path):
    photos = [f"{RING[0]}.png", "é.png", "a.png"]
    names = [f"{ring}.png" for ring in RING[1:]] + ["e\u0301.png", "a.png"]
    boxes = tmp_path / "boxes.jsonl"
    boxes.write_text("\n".join(json.dumps({"sample_id": name, "boxes": [[1, 1, 4, 4]]}) for name in names))
    config = job(tmp_path, photos, [], kind="boxes", uri=str(boxes))
    assert pairs(config) == {photos[0]: (None, None), "é.png": ("", None), "a.png": ("", None)}
