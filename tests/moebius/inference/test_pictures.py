"""Photos and masks of every kind that an inpainter takes, and results of the same kind."""

import numpy as np
import pytest
from PIL import Image

from moebius import Inpainter, InpaintSettings
from moebius.inference.pictures import open_mask, open_photo
from tests.conftest import textured

RGB = textured(40, 50)
MASK = np.zeros((40, 50), bool)
MASK[10:20, 15:30] = True


@pytest.fixture(scope="module")
def inpainter(tiny_weights):
    return Inpainter.from_pretrained(str(tiny_weights), InpaintSettings(steps=2))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("kind", ["array", "image", "path"])
def test_result_is_of_the_kind_of_the_photo_and_only_the_hole_changes(inpainter, tmp_path, mode, kind):
    image = Image.fromarray(RGB).convert(mode)
    if "A" in mode:
        image.putalpha(Image.fromarray((np.arange(2000) % 256).astype(np.uint8).reshape(40, 50)))
    image.save(tmp_path / "photo.png")
    Image.fromarray(MASK).save(tmp_path / "mask.png")
    photo, mask = {
        "array": (np.asarray(image), MASK),
        "image": (image, Image.fromarray(MASK)),
        "path": (str(tmp_path / "photo.png"), tmp_path / "mask.png"),
    }[kind]
    (result,) = inpainter([photo], [mask], [3])
    assert isinstance(result, np.ndarray if kind == "array" else Image.Image)
    before, after = np.asarray(image), np.asarray(result)
    assert (before.shape, before.dtype) == (after.shape, after.dtype)
    assert np.array_equal(before[~MASK], after[~MASK]) and not np.array_equal(before[MASK], after[MASK])
    if "A" in mode:
        assert np.array_equal(before[..., -1], after[..., -1])
    if mode.startswith("RGB"):
        assert np.array_equal(after[..., :3], inpainter([RGB], [MASK], [3])[0])
    assert image.tobytes() == Image.open(tmp_path / "photo.png").tobytes()  # what was given stays


def test_palette_becomes_colours_and_bilevel_grey():
    assert open_photo(Image.fromarray(RGB).quantize(8)).own.shape == (40, 50, 3)
    assert open_photo(Image.fromarray(MASK)).own.shape == (40, 50)


def test_white_of_a_mask_is_filled():
    grey = np.array([[0, 127, 128, 255]], np.uint8)
    assert open_mask(Image.fromarray(grey)).tolist() == [[False, False, True, True]]


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        (Image.new("CMYK", (4, 4)), "an image of mode CMYK is neither grey nor RGB of 8 bits"),
        (Image.new("I;16", (4, 4)), "mode I;16"),
        (np.zeros((4, 4, 3)), r"a photo must be uint8 .*got float64 \(4, 4, 3\)"),
        (np.zeros((4, 4, 5), np.uint8), r"\(4, 4, 5\)"),
        (np.zeros(4, np.uint8), r"\(4,\)"),
    ],
)
def test_photo_of_another_kind_is_refused(photo, message):
    with pytest.raises(ValueError, match=message):
        open_photo(photo)


def test_file_that_is_missing_is_an_error_of_files(inpainter, tmp_path):
    with pytest.raises(FileNotFoundError):
        inpainter([tmp_path / "none.png"], [MASK], [0])
