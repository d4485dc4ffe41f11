import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from moebius.windows.compositing import (
    colour_offset,
    keep_colours,
    match_colours,
    paste_published,
    ring_around,
    to_uint8,
)
from tests.conftest import golden


@pytest.mark.parametrize(("compensate", "name"), [(False, "pasted"), (True, "compensated")])
def test_paste_equals_published_code_to_the_byte(compensate, name):
    raw = to_uint8(golden("paste")["generated"]).permute(1, 2, 0).numpy()
    expected = {key: value.numpy() for key, value in golden("paste").items()}
    assert np.array_equal(raw, expected["raw"])
    pasted = paste_published(expected["image"], raw, expected["mask"] > 127, compensate)
    assert np.array_equal(pasted, expected[name])


def test_not_finite_pixels_are_an_error():
    for value in (np.nan, np.inf):
        with pytest.raises(FloatingPointError, match="NaN or infinite"):
            to_uint8(torch.full((2, 2, 3), value))


def test_ring_of_a_mask_that_covers_all_is_empty():
    assert not ring_around(np.ones((4, 5), bool)).any()
    assert not ring_around(np.zeros((4, 5), bool)).any()


def test_colours_are_shifted_by_the_offset_rounded_and_kept_in_range():
    generator = np.random.default_rng(0)
    image, generated = generator.integers(0, 256, (2, 24, 32, 3), dtype=np.uint8)
    image //= 2
    mask = np.zeros((24, 32), bool)
    mask[8:16, 10:20] = True
    offset = colour_offset(image, generated, mask)
    assert (np.abs(offset) > 20).all()
    expected = np.clip(np.rint(generated + offset), 0, 255)
    assert np.array_equal(match_colours(image, generated, mask), expected)


def test_published_paste_clips_after_blending():
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    generated = np.clip(image.astype(int) - 60 + generator.integers(-20, 20, image.shape), 0, 255).astype(np.uint8)
    generated[12:20, 12:20] = 255  # which the offset raises above white
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    shifted = generated + colour_offset(image, generated, mask)
    assert shifted.max() > 300
    blend = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(3))) / 255
    blended = shifted / 255 * blend[..., None] + image / 255 * (1 - blend[..., None])
    expected = np.floor(255 * blended.clip(0, 1)).astype(int)
    assert np.abs(paste_published(image, generated, mask, compensate_colour=True) - expected).max() == 0
    early = np.floor(shifted.clip(0, 255) * blend[..., None] + image * (1 - blend[..., None]))
    assert (early != expected).any()


@pytest.mark.parametrize("shift", [(0, 0, 0), (20, -15, 30)])
def test_second_fill_keeps_the_colours_of_the_first_and_its_own_texture(shift):
    mask = np.ones((64, 64), bool)
    mask[:8] = False
    first = np.full((64, 64, 3), 120, np.uint8)
    texture = np.indices((64, 64)).sum(axis=0)[..., None] % 2 * 20 - 10
    generated = (first + texture * mask[..., None] + np.array(shift) * mask[..., None]).astype(np.uint8)
    kept = keep_colours(first, generated, mask)
    middle = kept[32:].astype(int)
    assert np.abs(middle.reshape(-1, 3).mean(axis=0) - 120).max() <= 2
    assert np.abs(middle - 120 - texture[32:]).max() <= 3


def test_second_fill_that_agrees_with_the_photo_around_it_is_not_moved_there():
    mask = np.zeros((64, 64), bool)
    mask[16:] = True
    pixels = np.full((64, 64, 3), 120, np.uint8)
    generated = pixels + np.uint8(40) * mask[..., None]
    kept = keep_colours(pixels, generated, mask).astype(int)
    assert (kept[16] > 150).all() and (kept[50] < 125).all()
