import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipeline.codecs.decode import decode
from pipeline.config.job import MaskConfig
from pipeline.errors import SampleError
from pipeline.masks.decode import read_mask
from tests.pipeline.masks.test_masks import png

LIMIT = 10**6
WIDTH, HEIGHT = 96, 72


def stored_photo(orientation: int, kind: str = "JPEG") -> bytes:
    """A photo with a white square in it, as a camera stores it."""
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    image = Image.new("RGB", (WIDTH, HEIGHT))
    image.paste((255, 255, 255), (8, 16, 32, 48))
    image.save(file, kind, exif=exif)
    return file.getvalue()


def upright_mask(photo: bytes) -> np.ndarray:
    """What a tool that obeys EXIF makes of the photo: the white square."""
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(photo))).convert("L")) // 128 * np.uint8(255)


def read(mask: np.ndarray, photo: bytes, **options) -> np.ndarray:
    config = MaskConfig(**{"max_fraction": 1.0, **options})
    return read_mask(png(mask), decode(photo, LIMIT), config, LIMIT)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_mask_lands_where_the_photo_is_stored(orientation, kind):
    photo = stored_photo(orientation, kind)
    mask = read(upright_mask(photo), photo, upright=True)
    assert mask.shape == (HEIGHT, WIDTH) and mask.flags.c_contiguous
    assert mask[16:48, 8:32].all() and mask.sum() == 32 * 24


@pytest.mark.parametrize("orientation", [3, 6, 7])
def test_upright_mask_is_scaled_and_anchored_as_the_photo_is_shown(orientation):
    photo = stored_photo(orientation)
    upright = upright_mask(photo)
    doubled = read(upright.repeat(2, axis=0).repeat(2, axis=1), photo, upright=True, resize=True)
    assert np.array_equal(doubled, read(upright, photo, upright=True))
    corner = read(np.full((5, 9), 255, np.uint8), photo, upright=True, anchor="top-left")
    expected = np.zeros_like(upright)
    expected[:5, :9] = 255
    assert np.array_equal(corner, read(expected, photo, upright=True))


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("resize", [False, True])
def test_mask_on_its_side_is_never_squashed_and_the_message_says_what_to_set(scale, resize):
    if scale > 1 and not resize:
        return
    photo = stored_photo(6)
    mask = np.zeros((WIDTH // scale, HEIGHT // scale), np.uint8)
    with pytest.raises(SampleError, match=r"shown as 72x96 by its EXIF orientation 6; mask\.upright=true") as caught:
        read(mask, photo, resize=resize)
    assert caught.value.kind == "MaskSizeMismatch"
    with pytest.raises(SampleError, match=r"mask\.upright=false takes masks of the image as it is stored"):
        read(mask.T, photo, resize=resize, upright=True)
    with pytest.raises(SampleError, match="one is turned by 90 degrees, and no EXIF orientation says which way"):
        read(mask, stored_photo(1), resize=resize)


def test_square_mask_of_a_model_is_scaled_all_the_same():
    assert read(np.full((64, 64), 255, np.uint8), stored_photo(6), resize=True).all()


@settings(deadline=None, max_examples=80)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    wanted=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 2**32 - 1),
)
def test_scaled_mask_counts_where_any_part_of_a_pixel_did(size, wanted, seed):
    from pipeline.masks.sizes import fit, is_on_side

    if is_on_side(size, wanted):
        return
    mask = np.random.default_rng(seed).random(size) < 0.1
    expected = np.zeros(wanted, bool)
    for row, column in np.argwhere(mask):  # of this pixel's rows and columns, as parts of the whole
        top, bottom = row * wanted[0] // size[0], -(-(row + 1) * wanted[0] // size[0])
        left, right = column * wanted[1] // size[1], -(-(column + 1) * wanted[1] // size[1])
        expected[top:bottom, left:right] = True
    assert np.array_equal(fit(mask, wanted, 1, MaskConfig(resize=True)), expected)


@pytest.mark.parametrize("more", [-1, 1])
def test_mask_of_one_pixel_more_or_less_keeps_its_rims(more):
    mask = np.zeros((HEIGHT + more, WIDTH + more), np.uint8)
    mask[0], mask[:, -1] = 255, 255
    scaled = read(mask, stored_photo(1), resize=True)
    assert scaled[0].all() and scaled[:, -1].all() and scaled[1:, :-2].sum() <= HEIGHT + WIDTH
