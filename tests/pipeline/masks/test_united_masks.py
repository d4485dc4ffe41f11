"""Masks of several kinds, united."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jobs.configuration.load import load_config, load_with_origins
from pipeline.config.job import JobConfig, SinkConfig, SourceConfig
from pipeline.config.mask import MaskConfig
from pipeline.config.public import public_configuration
from pipeline.config.verify import VerifyConfig
from pipeline.errors import ConfigError, SampleError
from pipeline.masks.decode import draw_mask
from pipeline.records import OK, UNCHANGED
from pipeline.report.inspector import Inspector, config_of_run
from pipeline.storage.storage import Storage
from tests.conftest import ROOT, saved, textured
from tests.pipeline.flow_here import run_here

BASE = str(ROOT / "conf" / "inpaint.yaml")
BOXES = json.dumps([{"boxes": [[10, 10, 20, 20]]}]).encode()


def photo():
    """An image whose lower right quarter is transparent."""
    from pipeline.codecs.decode import decode

    pixels = np.dstack([textured(40, 60), np.full((40, 60), 255, np.uint8)])
    pixels[20:, 30:, 3] = 0
    return decode(saved(Image.fromarray(pixels)), 10**6)


def test_each_mask_is_refined_by_its_own_settings_and_limits_are_of_the_union():
    config = MaskConfig(kind="boxes", dilate_px=2, also=[{"kind": "alpha"}])
    drawn = draw_mask(BOXES, photo(), config, 10**6)
    expected = np.zeros((40, 60), bool)
    expected[8:22, 8:22] = True
    expected[20:, 30:] = True
    assert np.array_equal(drawn.pixels, expected) and drawn.objects == 2
    grown = draw_mask(BOXES, photo(), replace(config, also=[MaskConfig(kind="alpha", dilate_px=1)]), 10**6)
    assert grown.pixels[19:, 29:].all()
    alone = replace(config, max_fraction=0.3)
    assert draw_mask(BOXES, photo(), replace(alone, also=[]), 10**6).pixels.any()
    with pytest.raises(SampleError, match=r"mask\.max_fraction=0\.3"):
        draw_mask(BOXES, photo(), alone, 10**6)


def test_sample_without_a_file_still_has_the_masks_of_its_image():
    config = MaskConfig(kind="boxes", missing="empty", invert=True, also=[{"kind": "alpha"}])
    assert draw_mask((), photo(), config, 10**6).pixels.sum() == 20 * 30


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_list_in_a_configuration_unites_masks_in_any_order(tmp_path, order):
    parts = [{"kind": "boxes", "uri": str(tmp_path / "b.jsonl"), "dilate_px": 2}, {"kind": "alpha", "threshold": 0.2}]
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps({"base": BASE, "mask": [parts[number] for number in order]}))
    config = load_config(str(path), [f"mask.{order.index(0)}.dilate_px=5", f"mask.{order.index(1)}.close_px=1"]).mask
    assert (config.kinds, config.dilate_px) == ("boxes+alpha", 5)
    assert [(part.kind, part.threshold, part.close_px) for part in config.also] == [("alpha", 0.2, 1)]
    added = load_config(str(path), ["mask.2.kind=text"]).mask
    assert added.kinds == "boxes+alpha+text"


def test_list_of_one_and_a_section_are_the_same_job(tmp_path):
    (tmp_path / "one.yaml").write_text(json.dumps({"base": BASE, "mask": [{"kind": "alpha", "dilate_px": 3}]}))
    one = load_config(str(tmp_path / "one.yaml"), [])
    section = load_config(BASE, ["mask.kind=alpha", "mask.dilate_px=3"])
    assert one.mask == section.mask and one.fingerprint == section.fingerprint
    line = load_config(BASE, ["mask=[{kind: alpha, dilate_px: 3}]"])
    assert line.fingerprint == section.fingerprint


@pytest.mark.parametrize(
    ("masks", "overrides", "reason"),
    [
        ([], [], "must be a section or a list of sections"),
        (["text"], [], "must be a section or a list of sections"),
        ([{"kind": "text", "knd": 1}], [], r"mask\.0\.knd: no such key"),
        ([{"kind": "text", "dilate_px": "wide"}], [], r"mask\.0\.dilate_px: .*wide"),
        ([{"kind": "paired"}, {"kind": "coco"}], [], r"mask\.kind=coco cannot be united with other masks"),
        (
            [{"kind": "paired"}, {"kind": "text", "max_fraction": 0.5}],
            [],
            r"mask\.max_fraction is of all masks together",
        ),
        ([{"kind": "paired"}, {"kind": "text"}], ["mask.dilate_px=3"], r"such as mask\.0\.dilate_px"),
        ([{"kind": "paired"}], ["mask.7.kind=text"], r"mask\.7: there are 1 masks in the list"),
        (
            [{"kind": "paired"}, {"kind": "text", "where": "true"}],
            [],
            r"mask\.where has no meaning for mask\.kind=text",
        ),
    ],
)
def test_list_that_cannot_be_united_is_a_configuration_error(tmp_path, masks, overrides, reason):
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps({"base": BASE, "mask": masks}))
    with pytest.raises(ConfigError, match=reason):
        load_config(str(path), overrides)


def test_fingerprint_depends_on_every_part_and_not_on_places():
    def fingerprint(*also: dict, **mask) -> str:
        return JobConfig(mask=MaskConfig(**mask, also=list(also))).fingerprint

    alone = fingerprint()
    assert fingerprint({"kind": "alpha"}) != alone
    assert fingerprint({"kind": "alpha", "dilate_px": 1}) != fingerprint({"kind": "alpha"})
    assert fingerprint({"kind": "alpha", "uri": "x/"}) == fingerprint({"kind": "alpha"}, uri="y/")


def test_detector_among_united_masks_can_verify_results():
    config = JobConfig(mask=MaskConfig(also=[{"kind": "text", "text_score": 0.4}]), verify=VerifyConfig(model="mask"))
    assert (config.verifying_detector.kind, config.verifying_detector.text_score) == ("text", 0.4)
    with pytest.raises(ConfigError, match=r"verify\.model must be a detector"):
        JobConfig(mask=MaskConfig(also=[{"kind": "alpha"}]), verify=VerifyConfig(model="mask"))


def test_whole_job_fills_what_any_of_the_masks_marks(here, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        pixels = np.dstack([textured(40, 60), np.full((40, 60), 255, np.uint8)])
        if name != "c.png":
            pixels[20:, 30:, 3] = 0
        Image.fromarray(pixels).save(folder / name)
    boxes = tmp_path / "boxes.jsonl"
    boxes.write_text(json.dumps({"sample_id": "a.png", "boxes": [[10, 10, 20, 20]]}))
    config = JobConfig(
        SourceConfig(uri=str(folder)),
        MaskConfig("boxes", uri=str(boxes), missing="empty", also=[{"kind": "alpha"}]),
        sink=SinkConfig(uri=str(tmp_path / "out")),
    )
    run_here(config, "run")
    rows = {row["sample_id"]: row for row in pq.read_table(tmp_path / "out" / "manifest").to_pylist()}
    assert {name: row["status"] for name, row in rows.items()} == {"a.png": OK, "b.png": OK, "c.png": UNCHANGED}
    assert {row["mask_kind"] for row in rows.values()} == {"boxes+alpha"}
    assert rows["a.png"]["mask_fraction"] == (100 + 600) / 2400 and rows["b.png"]["mask_fraction"] == 600 / 2400
    for name in ("a.png", "b.png"):  # what was transparent can be seen
        assert np.asarray(Image.open(rows[name]["output_uri"]))[..., 3].min() == 255
    again = config_of_run(Storage(config.sink.uri), "run", {})
    assert again.mask.kinds == "boxes+alpha"
    inputs = Inspector(again, list(rows)).inputs(rows["a.png"])
    assert json.loads(inputs.mask)[0]["boxes"] == [[10, 10, 20, 20]]


def test_public_configuration_has_only_what_was_set_of_further_masks(tmp_path):
    (tmp_path / "c.yaml").write_text(json.dumps({"base": BASE, "mask": [{"kind": "text", "text_score": 0.4}, {}]}))
    loaded = load_with_origins(str(tmp_path / "c.yaml"), [])
    assert public_configuration(loaded.config)["mask"]["also"] == [{"kind": "text", "text_score": 0.4}]
