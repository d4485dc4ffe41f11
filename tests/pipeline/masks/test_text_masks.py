import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

import pipeline.extras
from pipeline.codecs.photo import Photo
from pipeline.config.job import MaskConfig
from pipeline.detection import text as text_masks
from pipeline.errors import ConfigError
from pipeline.masks.base import open_masks
from pipeline.masks.decode import draw_mask, read_mask
from pipeline.storage.storage import Storage
from tests.conftest import ROOT

ELSEWHERE = Storage("/elsewhere")


def test_missing_extra_is_said_before_any_worker_starts(monkeypatch):
    monkeypatch.setattr(pipeline.extras, "find_spec", lambda name: None if name == "rapidocr" else sys)
    with pytest.raises(ConfigError, match=r"needs rapidocr: pip install .*\[text\]'"):
        open_masks(MaskConfig(kind="text"), ELSEWHERE, ELSEWHERE)
    open_masks(MaskConfig(kind="alpha"), ELSEWHERE, ELSEWHERE)


@pytest.fixture(scope="module")
def captioned():
    """A photo, and where words were written over it."""
    pytest.importorskip("rapidocr")
    photo = Image.open(ROOT / "tests" / "photos" / "images" / "chelsea.png").convert("RGB")
    words = Image.new("L", photo.size)
    ImageDraw.Draw(words).text((60, 230), "SAMPLE PHOTO", font=ImageFont.load_default(34), fill=220)
    photo.paste("white", mask=words)
    return np.asarray(photo), np.asarray(words) > 0


def test_text_over_a_photo_is_covered_and_little_else(captioned):
    rgb, words = captioned
    mask = read_mask(b"", Photo(rgb, "RGB", "PNG"), MaskConfig(kind="text"), rgb.size)
    assert mask.shape == words.shape and mask.dtype == bool
    assert (mask & words).sum() / words.sum() > 0.98
    assert mask.mean() < 0.2
    assert np.array_equal(mask, text_masks.find_text(rgb, 0.6).pixels)


def test_lines_of_text_are_counted_with_the_highest_score(captioned):
    _, words = captioned
    rgb = np.where(words[..., None], np.uint8(250), np.full((*words.shape, 3), 90, np.uint8))
    drawn = draw_mask(b"", Photo(rgb, "RGB", "PNG"), MaskConfig(kind="text"), rgb.size)
    assert drawn.objects == 1 and drawn.score is not None and 0.6 <= drawn.score <= 1


def test_score_that_nothing_reaches_finds_nothing(captioned):
    found = text_masks.find_text(captioned[0], 1.0)
    assert not found.pixels.any() and found.objects == 0 and found.score is None


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 2), (8, 900), (900, 9), (33, 31)])
def test_photo_of_any_shape_is_taken(shape):
    pytest.importorskip("rapidocr")
    assert text_masks.find_text(np.full((*shape, 3), 90, np.uint8), 0.5).pixels.shape == shape
