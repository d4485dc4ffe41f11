"""Functions of the user, in modules that are written here."""

import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.codecs.photo import Photo
from pipeline.config.job import JobConfig, SourceConfig
from pipeline.config.mask import MaskConfig
from pipeline.errors import ConfigError, SampleError
from pipeline.masks.base import open_kind, pinned
from pipeline.masks.decode import draw_mask

CODE = """
import numpy as np

def left_half(image):
    mask = np.zeros(image.shape[:2], bool)
    mask[:, : image.shape[1] // 2] = True
    return mask

def as_bytes(image):
    return left_half(image).astype(np.uint8) * 255

def as_chances(image):
    return left_half(image) * 0.7

def as_boxes(image):
    return [[-3, 0, image.shape[1] // 2, image.shape[0]]]

def nothing(image):
    return []

def greedy(image):
    image[:] = 0
    return as_bytes(image)

class Nested:
    inner = staticmethod(left_half)

def raises(image):
    raise KeyError("oops")

answers = {
    "other_shape": lambda image: np.zeros((3, 3), bool),
    "colour": lambda image: np.zeros(image.shape, bool),
    "text": lambda image: "mask",
    "none": lambda image: None,
    "beyond": lambda image: np.full(image.shape[:2], 2.0),
    "numbers": lambda image: np.full(image.shape[:2], np.nan),
    "int64": lambda image: np.zeros(image.shape[:2], np.int64),
    "far": lambda image: np.array([[0, 0, np.inf, 5]]),
    "sizes": lambda image: np.array([[50, 20, 5, 5]]),
    "ragged": lambda image: [[1, 2], [3]],
}
globals().update(answers)
number = 7
"""
PHOTO = Photo(np.full((30, 40, 3), 90, np.uint8), "RGB", "PNG")


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Name of a module with functions that make masks."""
    name = f"masks_of_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


def config_of(function, **keys):
    return MaskConfig(kind="python", function=function, **keys)


def drawn(function):
    return draw_mask(b"", PHOTO, pinned(JobConfig(mask=config_of(function))).mask, 10**6)


@pytest.mark.parametrize("name", ["left_half", "as_bytes", "as_chances", "as_boxes", "greedy", "Nested.inner"])
def test_mask_or_boxes_of_a_function_are_filled(module, name):
    mask = drawn(f"{module}:{name}")
    assert mask.pixels[:, :20].all() and not mask.pixels[:, 20:].any()
    assert mask.objects == (1 if name == "as_boxes" else None)
    assert (PHOTO.pixels == 90).all()


def test_function_that_finds_nothing_leaves_an_empty_mask(module):
    mask = drawn(f"{module}:nothing")
    assert not mask.pixels.any() and mask.objects == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raises", "raised KeyError: 'oops'"),
        ("other_shape", r"returned bool of shape \(3, 3\); it must be \(30, 40\) of bool"),
        ("colour", r"returned bool of shape \(30, 40, 3\)"),
        ("text", "returned <U4 of shape"),
        ("none", "returned object of shape"),
        ("beyond", "floating point values outside 0 … 1, or NaN"),
        ("numbers", "floating point values outside 0 … 1, or NaN"),
        ("int64", r"returned int64 of shape \(30, 40\)"),
        ("far", "boxes with NaN or infinite coordinates"),
        ("sizes", "boxes that end before they start"),
        ("ragged", "raised ValueError"),
    ],
)
def test_answer_that_is_no_mask_fails_the_sample(module, name, message):
    with pytest.raises(SampleError, match=message) as caught:
        drawn(f"{module}:{name}")
    assert (caught.value.stage, caught.value.kind) == ("mask", "BadMaskFunction")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nowhere_at_all:mask", r"cannot import nowhere_at_all \(ModuleNotFoundError: .*workers import it, too"),
        ("{}:missing", "has no missing"),
        ("{}:number", "is no function, but int"),
        ("{}", "must be package.module:function"),
        (":mask", "must be package.module:function"),
        ("math:floor", r"has no source file that tells its version; set mask\.version"),
    ],
    ids=["module", "name", "number", "no name", "no module", "built in"],
)
def test_function_that_cannot_be_used_is_refused_before_any_sample(module, function, message):
    with pytest.raises(ConfigError, match=message):
        pinned(JobConfig(mask=config_of(function.format(module))))


def test_kind_needs_its_function():
    with pytest.raises(ConfigError, match=r"mask\.kind=python needs mask\.function"):
        JobConfig(SourceConfig(uri="photos"), MaskConfig(kind="python"))


def fingerprint(config):
    return JobConfig(SourceConfig(uri="photos"), config).fingerprint


def test_file_of_the_function_is_part_of_the_fingerprint_unless_a_version_is_given(module, tmp_path):
    config = config_of(f"{module}:left_half")
    first = fingerprint(pinned(JobConfig(mask=config)).mask)
    assert fingerprint(pinned(JobConfig(mask=config_of(f"{module}:nothing"))).mask) != first
    named = fingerprint(pinned(JobConfig(mask=config_of(f"{module}:left_half", version="1"))).mask)
    planned = pinned(JobConfig(mask=config)).mask
    path = Path(tmp_path / f"{module}.py")
    path.write_text(path.read_text() + "\n# another file\n")
    assert fingerprint(pinned(JobConfig(mask=config)).mask) != first
    assert fingerprint(pinned(JobConfig(mask=config_of(f"{module}:left_half", version="1"))).mask) == named
    with pytest.raises(ConfigError, match="another than the one that the job was planned with"):
        open_kind(planned).fetch({})


def test_fingerprint_without_a_version_is_never_computed(module):
    with pytest.raises(RuntimeError, match="has not been hashed"):
        _ = fingerprint(config_of(f"{module}:left_half"))
