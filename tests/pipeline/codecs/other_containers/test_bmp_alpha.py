"""BMP files with alpha: kept, or refused, never left out unsaid."""

import struct

import numpy as np
import pytest

from pipeline.codecs.decode import decode
from pipeline.errors import SampleError
from tests.conftest import textured

LIMIT = 10_000
WIDTH, HEIGHT = 40, 10
COLOURS = textured(HEIGHT, WIDTH)
FADING = np.tile(np.arange(WIDTH, dtype=np.uint8) * 6, (HEIGHT, 1))


def bmp(bits: int, compression: int, pixels: bytes, masks: tuple[int, ...] = (), header_bytes: int = 40) -> bytes:
    fields = header_bytes, WIDTH, HEIGHT, 1, bits, compression, len(pixels), 0, 0, 0, 0
    header = (struct.pack("<IiiHHIIiiII", *fields) + struct.pack(f"<{len(masks)}I", *masks)).ljust(header_bytes, b"\0")
    start = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + pixels


def four_bytes(fourth: np.ndarray) -> bytes:
    return np.dstack([COLOURS[::-1, :, ::-1], fourth[::-1]]).tobytes()


MASKS = (0xFF0000, 0xFF00, 0xFF)


@pytest.mark.parametrize("header_bytes", [56, 108, 124])
def test_alpha_by_a_mask_is_kept(header_bytes):
    photo = decode(bmp(32, 3, four_bytes(FADING), (*MASKS, 0xFF000000), header_bytes), LIMIT)
    assert photo.mode == "RGBA" and np.array_equal(photo.pixels, np.dstack([COLOURS, FADING]))


@pytest.mark.parametrize("fourth", [np.zeros_like(FADING), FADING], ids=["zeros", "anything"])
def test_fourth_byte_without_a_mask_is_no_alpha(fourth):
    photo = decode(bmp(32, 0, four_bytes(fourth)), LIMIT)
    assert photo.mode == "RGB" and np.array_equal(photo.pixels, COLOURS)


def test_alpha_that_would_be_lost_is_refused():
    five_bits = np.arange(WIDTH * HEIGHT, dtype="<u2").tobytes()
    data = bmp(16, 3, five_bits, (0x7C00, 0x3E0, 0x1F, 0x8000), 108)
    with pytest.raises(SampleError, match="BMP with an unsupported kind of alpha"):
        decode(data, LIMIT)
    assert decode(bmp(16, 3, five_bits, (0x7C00, 0x3E0, 0x1F, 0), 108), LIMIT).mode == "RGB"
