"""Masks of detectors as jobs see them: found, identified and refused by the content of the model's file."""

import hashlib

import numpy as np
import pytest

from pipeline.codecs.photo import Photo
from pipeline.config.job import JobConfig, SourceConfig
from pipeline.config.mask import MaskConfig
from pipeline.config.public import public_configuration
from pipeline.config.verify import VerifyConfig
from pipeline.detection.text import find_text
from pipeline.errors import ConfigError, SampleError
from pipeline.masks.base import fetched, open_kind, pinned
from pipeline.masks.decode import draw_mask
from tests.conftest import textured
from tests.pipeline.detection.onnx_models import RED, red_box, red_heatmap

PIXELS = textured(60, 80) // 3
PIXELS[10:30, 20:50] = RED
PHOTO = Photo(PIXELS, "RGB", "PNG")


def job(**mask):
    return JobConfig(SourceConfig(uri="photos"), MaskConfig(kind="detect", **mask))


def fingerprint(**mask):
    return pinned(job(**mask)).fingerprint


def test_mask_is_grown_after_it_is_found_and_objects_are_counted(tmp_path):
    config = open_kind(MaskConfig(kind="detect", model=str(red_box(tmp_path / "a.onnx")), dilate_px=4)).fetch({})
    drawn = draw_mask(b"", PHOTO, config, 10**6)
    assert drawn.pixels[7:33, 17:53].all() and drawn.pixels.mean() < 0.25
    assert drawn.objects == 1 and drawn.score == pytest.approx(1, abs=0.02)


def test_same_file_elsewhere_has_the_same_fingerprint_and_another_file_has_not(tmp_path):
    one, other = tmp_path / "a.onnx", tmp_path / "deeper" / "b.onnx"
    other.parent.mkdir()
    other.write_bytes(red_heatmap(one).read_bytes())
    first = fingerprint(model=str(one))
    assert fingerprint(model=[str(other)]) == first
    assert fingerprint(model=str(one), device="cpu") == first
    assert fingerprint(model=str(one), score=0.6) != first
    assert fingerprint(model=[str(one), str(one)]) != first
    assert fingerprint(model=str(red_box(one))) != first


def test_detector_that_looks_at_results_is_identified_by_its_file_too(tmp_path):
    path = red_heatmap(tmp_path / "a.onnx")
    model = {"kind": "detect", "model": str(path), "score": 0.3}
    config = JobConfig(SourceConfig(uri="photos"), MaskConfig(), verify=VerifyConfig(model))
    with pytest.raises(RuntimeError, match="have not been hashed"):
        _ = config.fingerprint
    first = pinned(config)
    assert first.mask == config.mask and first.verifying_detector.score == 0.3
    assert first.verifying_detector.model_sha256 == [hashlib.sha256(path.read_bytes()).hexdigest()]
    assert pinned(first).fingerprint == first.fingerprint
    red_box(path)
    assert pinned(config).fingerprint != first.fingerprint
    same = JobConfig(config.source, MaskConfig(**model), verify=VerifyConfig("mask"))
    found = pinned(same)
    assert found.verifying_detector is found.mask and found.fingerprint


def test_driver_without_the_gpu_of_the_workers_tries_the_model_on_its_cpu(tmp_path):
    config = pinned(job(model=str(red_heatmap(tmp_path / "a.onnx")), device="cuda"))
    assert config.mask.device == "cuda"
    with pytest.raises(ConfigError, match="needs a GPU"):
        fetched(config)


def test_fingerprint_without_hashes_is_never_computed():
    with pytest.raises(RuntimeError, match="have not been hashed"):
        _ = job(model="a.onnx").fingerprint


def test_file_of_another_hash_than_the_configured_or_planned_one_is_refused(tmp_path):
    path = red_heatmap(tmp_path / "a.onnx")
    planned = pinned(JobConfig(mask=MaskConfig(kind="detect", model=str(path)))).mask
    assert planned.model_sha256 == [hashlib.sha256(path.read_bytes()).hexdigest()]
    assert planned.model == [str(path)]
    red_box(path)
    with pytest.raises(ConfigError, match=r"has the SHA-256 .* on this machine, mask\.model_sha256 is"):
        open_kind(planned).fetch({})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, r"mask\.kind=detect needs mask\.model"),
        ({"model": []}, r"mask\.model must be a path, a uri, or a list of them"),
        ({"model": 7}, r"mask\.model must be a path"),
        ({"model": "s3://user:pass@bucket/a.onnx"}, r"mask\.model must not hold a user name"),
        ({"model": "a.onnx", "model_sha256": ["1", "2"]}, r"mask\.model_sha256 must have one hash for each model"),
        ({"model": "a.onnx", "output": "best"}, r"mask\.output must be one of auto, boxes, detr, rtdetr, yolo"),
        ({"model": "a.onnx", "device": "tpu"}, r"mask\.device must be one of cpu, cuda"),
        ({"model": "a.onnx", "score": 2}, r"mask\.score must be in 0 … 1"),
        ({"model": "a.onnx", "tile_px": 9}, r"mask\.tile_px must be 0 or at least 64"),
        ({"model": "a.onnx", "classes": [[1]]}, r"mask\.classes must be a list of names or ids"),
        ({"model": "a.onnx", "input": {"sise": 1}}, r"mask\.input has no key 'sise', only size, fit"),
        ({"model": "a.onnx", "input": {"size": [1]}}, r"mask\.input\.size must be pixels, or \[width, height\]"),
        ({"model": "a.onnx", "input": {"size": 99999}}, r"mask\.input\.size must be pixels"),
        ({"model": "a.onnx", "input": {"fit": "crop"}}, r"mask\.input\.fit must be one of letterbox, stretch"),
        ({"model": "a.onnx", "input": {"values": "x"}}, r"mask\.input\.values must be one of unit, byte"),
        ({"model": "a.onnx", "input": {"mean": 1}}, r"mask\.input takes either values, or both mean and std"),
        ({"model": "a.onnx", "input": {"mean": 1, "std": 0}}, r"mask\.input\.std must be positive"),
        ({"model": "a.onnx", "input": {"mean": [1, 2], "std": 1}}, r"mask\.input\.mean must be a number, or three"),
        ({"model": "a.onnx", "column": "x"}, r"mask\.column has no meaning for mask\.kind=detect"),
    ],
    ids=range(19),
)
def test_faulty_setting_is_refused_with_its_key(keys, message):
    with pytest.raises(ConfigError, match=message):
        job(**keys)


def test_file_that_is_not_there_is_refused_before_any_sample(tmp_path):
    with pytest.raises(ConfigError, match=r"mask\.model: no file at .*a\.onnx"):
        pinned(JobConfig(mask=MaskConfig(kind="detect", model=str(tmp_path / "a.onnx"))))
    with pytest.raises(ConfigError, match=r"mask\.model: a file of the hub is hf://owner/repository/path"):
        pinned(JobConfig(mask=MaskConfig(kind="detect", model="hf://a.onnx")))


def test_mask_that_is_drawn_again_where_the_model_is_not_says_so(tmp_path):
    path = red_heatmap(tmp_path / "a.onnx", metadata={"unique": "gone"})
    config = MaskConfig(kind="detect", model=str(path), model_sha256=[hashlib.sha256(path.read_bytes()).hexdigest()])
    path.unlink()
    with pytest.raises(SampleError, match=r"mask\.model: cannot read .*a\.onnx: No such file") as caught:
        draw_mask(b"", PHOTO, config, 10**6)
    assert (caught.value.stage, caught.value.kind) == ("mask", "DetectorUnavailable")


def test_uri_of_a_model_is_shown_without_its_secret():
    config = job(model="https://example.com/a.onnx?token=abcdef", model_sha256=["0" * 64])
    assert "abcdef" not in str(public_configuration(config)["mask"])
    verified = JobConfig(config.source, MaskConfig(), verify=VerifyConfig({"model": config.mask.model}))
    assert "abcdef" not in str(public_configuration(verified))


def test_model_of_text_detection_finds_the_lines_that_its_package_finds():
    """The cores of lines, which the package grows to the whole lines."""
    rapidocr = pytest.importorskip("rapidocr")
    from pathlib import Path

    from PIL import Image, ImageDraw, ImageFont

    words = Image.new("L", (400, 300))
    for place, text in (((40, 60), "SAMPLE PHOTO"), ((120, 200), "copyright 2024")):
        ImageDraw.Draw(words).text(place, text, font=ImageFont.load_default(30), fill=255)
    rgb = textured(300, 400) // 3 + 60
    rgb[np.asarray(words) > 127] = 255
    model = Path(rapidocr.__file__).parent / "models" / "PP-OCRv6_det_small.onnx"
    takes = {"size": [736, 736], "values": "imagenet", "order": "bgr", "fit": "letterbox"}
    keys = {"model": str(model), "input": takes, "score": 0.3}
    config = open_kind(MaskConfig(kind="detect", **keys, dilate_px=8)).fetch({})
    drawn = draw_mask(b"", Photo(rgb, "RGB", "PNG"), config, 10**6)
    theirs = find_text(rgb, 0.6)
    assert drawn.objects == theirs.objects == 2
    assert (drawn.pixels & theirs.pixels).sum() / theirs.pixels.sum() > 0.85
    assert (drawn.pixels & theirs.pixels).sum() / drawn.pixels.sum() > 0.85
