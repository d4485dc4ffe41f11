"""Masks decoded without Pillow: the same pixels, and nothing at all where a file is not entirely sound."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.png_chunks import SIGNATURE
from pipeline.png_grey import decode_grey


def png(pixels: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    return file.getvalue()


def written(width: int, height: int, rows: bytes) -> bytes:
    """A PNG file of 8 bits of grey with its rows as they are."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return SIGNATURE + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


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


@settings(deadline=None, max_examples=60)
@given(filters=st.lists(st.sampled_from([0, 1, 2]), min_size=1, max_size=12), seed=st.integers(0, 2**32 - 1))
def test_rows_of_any_simple_filter_are_decoded(filters, seed):
    generator = np.random.default_rng(seed)
    rows = generator.choice(np.array([0, 0, 0, 7, 255], np.uint8), (len(filters), 9))
    rows *= generator.integers(0, 2, (len(filters), 1), np.uint8)  # some like the one above
    data = written(
        9, len(filters), b"".join(bytes([kind]) + row.tobytes() for kind, row in zip(filters, rows, strict=True))
    )
    assert np.array_equal(decode_grey(data), np.asarray(Image.open(io.BytesIO(data))))


def test_second_header_cannot_change_the_size_that_was_checked():
    small, large = written(8, 8, bytes(72)), written(900, 900, bytes(900 * 901))
    header_end = 8 + 25
    assert decode_grey(small[:header_end] + large[8:]) is None
    assert decode_grey(small[:-12] + large[8:]) is None


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
