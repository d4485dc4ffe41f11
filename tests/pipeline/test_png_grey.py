"""Masks decoded without Pillow: the same pixels, and nothing at all where a file is not entirely sound."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.png_grey import decode_grey


def png(pixels: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    return file.getvalue()


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    seed=st.integers(0, 2**32 - 1),
    block=st.sampled_from([1, 5, 16]),
    level=st.integers(0, 9),
)
def test_pixels_are_those_of_pillow(height, width, seed, block, level):
    values = np.random.default_rng(seed).choice(np.array([0, 0, 7, 255], np.uint8), (height, width))
    pixels = values.repeat(block, axis=0).repeat(block, axis=1)[:height, :width]
    decoded = decode_grey(png(pixels, compress_level=level))
    assert decoded is None or np.array_equal(decoded, pixels)


@pytest.mark.parametrize("kind", ["empty", "full", "disc", "stroke"])
def test_usual_masks_are_decoded_here(kind):
    rows, columns = np.mgrid[:90, :120]
    mask = {
        "empty": np.zeros((90, 120), bool),
        "full": np.ones((90, 120), bool),
        "disc": (rows - 40) ** 2 + (columns - 60) ** 2 < 900,
        "stroke": abs(rows - columns) < 4,
    }[kind]
    pixels = mask.astype(np.uint8) * 255
    assert np.array_equal(decode_grey(png(pixels)), pixels)


def test_what_is_not_sound_or_not_plain_grey_is_left_to_pillow():
    sound = png(np.eye(40, dtype=np.uint8) * 255)
    assert decode_grey(sound) is not None
    broken = [sound[:end] for end in range(0, len(sound), 7)]
    broken += [sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :] for at in range(len(sound))]
    assert all(decode_grey(data) is None for data in broken)
    colour, transparent = np.zeros((9, 9, 3), np.uint8), png(np.zeros((9, 9), np.uint8), transparency=0)
    deep, bits = np.zeros((9, 9), np.uint16), png(np.zeros((9, 9), bool))
    assert all(decode_grey(data) is None for data in (png(colour), transparent, png(deep), bits))
