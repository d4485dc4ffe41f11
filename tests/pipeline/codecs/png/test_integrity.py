"""PNG files: whole by chunks and rows, or an error that names what is wrong."""

import struct
import zlib
from collections.abc import Iterator

import imagecodecs
import numpy as np
import pytest

from pipeline.codecs.decode import decode
from pipeline.codecs.identification.header import open_checked
from pipeline.codecs.photo import Photo
from pipeline.config.job import MaskConfig
from pipeline.errors import SampleError
from pipeline.masks.decode import read_mask

LIMIT = 1_000_000
WIDTH, HEIGHT = 13, 11
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
KINDS = [
    (colour, depth, interlaced)
    for colour, depths in {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8,), 6: (8, 16)}.items()
    for depth in depths
    for interlaced in (False, True)
]
PALETTE = bytes(range(256)) * 3


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def rows_of(colour: int, depth: int, interlaced: bool) -> Iterator[bytes]:
    """Rows of random pixels behind the filter that does nothing, in the order of the file."""
    starts = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    generator = np.random.default_rng(0)
    for x, y, step_x, step_y in starts if interlaced else [(0, 0, 1, 1)]:
        columns = len(range(x, WIDTH, step_x))
        for _ in range(y, HEIGHT, step_y):
            if columns:
                yield b"\0" + generator.bytes((columns * CHANNELS[colour] * depth + 7) // 8)


def png(colour: int, depth: int, interlaced: bool, rows: bytes, *extra: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour, 0, 0, interlaced)
    palette = [chunk(b"PLTE", PALETTE[: 3 << depth])] if colour == 3 else []
    packed = zlib.compress(rows)
    pixels = chunk(b"IDAT", packed[:9]) + chunk(b"IDAT", packed[9:])
    parts = chunk(b"IHDR", header), *palette, *extra, pixels, chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("kind", KINDS)
def test_too_few_rows_fail_and_too_many_do_no_harm(kind):
    rows = b"".join(rows_of(*kind))
    sound = png(*kind, rows)
    expected = decode(sound, LIMIT).pixels
    assert expected.shape[:2] == imagecodecs.png_decode(sound).shape[:2] == (HEIGHT, WIDTH)
    assert np.array_equal(decode(png(*kind, rows + bytes(99)), LIMIT).pixels, expected)
    for missing in (1, len(rows) // 2, len(rows)):
        with pytest.raises(SampleError, match=f"end after {len(rows) - missing} of {len(rows)} unpacked") as caught:
            decode(png(*kind, rows[:-missing]), LIMIT)
        assert caught.value.kind == "TruncatedImage"


@pytest.mark.parametrize("kind", KINDS)
def test_mask_of_too_few_rows_fails_at_the_mask(kind):
    photo, config = (
        Photo(np.zeros((HEIGHT, WIDTH, 3), np.uint8), "RGB", "PNG"),
        MaskConfig(threshold=0, max_fraction=1.0),
    )
    rows = b"".join(rows_of(*kind))
    assert read_mask(png(*kind, rows), photo, config, LIMIT).shape == (HEIGHT, WIDTH)
    with pytest.raises(SampleError) as caught:
        read_mask(png(*kind, rows[:-20]), photo, config, LIMIT)
    assert (caught.value.stage, caught.value.kind) == ("mask", "TruncatedImage")


@pytest.mark.parametrize("name", [b"IHDR", b"PLTE", b"tEXt", b"IDAT"])
@pytest.mark.parametrize("where", ["content", "checksum"])
def test_damaged_chunk_is_named(name, where):
    data = bytearray(png(3, 8, False, b"".join(rows_of(3, 8, False)), chunk(b"tEXt", b"Title\0a title")))
    start = data.index(name)
    data[start + (6 if where == "content" else 4 + int.from_bytes(data[start - 4 : start], "big"))] ^= 1
    with pytest.raises(SampleError, match=f"checksum of its {name.decode()} chunk is wrong") as caught:
        open_checked(bytes(data), LIMIT)
    assert ("it holds no pixels" in caught.value.message) == (name == b"tEXt")


def test_file_that_ends_inside_a_chunk_names_it():
    data = png(0, 8, False, b"".join(rows_of(0, 8, False)), chunk(b"tEXt", b"Title\0a title"))
    with pytest.raises(SampleError, match="ends inside its tEXt chunk"):
        open_checked(data[: data.index(b"title")], LIMIT)
    assert decode(data + b"behind the end", LIMIT).pixels.shape == (HEIGHT, WIDTH)


def test_wrong_sum_of_the_pixels_fails():
    rows = b"".join(rows_of(0, 8, False))
    packed = bytearray(zlib.compress(rows))
    packed[-1] ^= 1
    sound = png(0, 8, False, rows)
    header_end = 8 + 25
    damaged = sound[:header_end] + chunk(b"IDAT", bytes(packed)) + chunk(b"IEND", b"")
    with pytest.raises(SampleError, match="PNG has damaged pixels"):
        decode(damaged, LIMIT)
