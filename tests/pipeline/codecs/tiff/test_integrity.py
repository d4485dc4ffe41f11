"""TIFF files whose strips or tiles are left out, cut short or damaged, of which libtiff says nothing."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.codecs.decode import decode
from pipeline.errors import SampleError
from tests.conftest import textured

LIMIT = 1_000_000
PIXELS = textured(64, 80)
OFFSETS, COUNTS = (273, 324), (279, 325)


def by_tifffile(pixels: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, photometric="rgb", **options)
    return file.getvalue()


def by_pillow(image: Image.Image, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, "TIFF", **options)
    return file.getvalue()


DEEP = PIXELS.astype(np.uint16) * 257
BILEVEL = Image.fromarray(PIXELS).convert("1")
JPEG = [
    by_pillow(Image.fromarray(PIXELS).convert(mode), compression="jpeg", quality=90) for mode in ("L", "RGB", "CMYK")
]
KINDS = {
    "plain": by_tifffile(PIXELS, rowsperstrip=16),
    "plain tiles": by_tifffile(PIXELS, tile=(16, 16)),
    "deflate": by_tifffile(PIXELS, compression="zlib", rowsperstrip=16),
    "deflate tiles": by_tifffile(PIXELS, compression="zlib", tile=(16, 16)),
    "deflate big-endian": by_tifffile(PIXELS, compression="zlib", byteorder=">"),
    "deflate 16 bits": by_tifffile(DEEP, compression="zlib", rowsperstrip=16),
    "deflate of Pillow": by_pillow(Image.fromarray(PIXELS), compression="tiff_deflate"),
    "lzw": by_tifffile(PIXELS, compression="lzw", rowsperstrip=16),
    "jpeg grey": JPEG[0],
    "jpeg colour": JPEG[1],
    "jpeg inks": JPEG[2],
    "jpeg tiles": by_tifffile(PIXELS, compression="jpeg", tile=(16, 16)),
    "fax": by_pillow(BILEVEL, compression="group4"),
}


def pieces(data: bytes) -> list[tuple[int, int]]:
    """Offset and size of every strip or tile."""
    tags = Image.open(io.BytesIO(data)).tag_v2
    return [
        pair
        for offsets, counts in zip(OFFSETS, COUNTS, strict=True)
        if offsets in tags
        for pair in zip(tags[offsets], tags[counts], strict=True)
    ]


def with_entry(data: bytes, tags: tuple[int, int], index: int, value: int) -> bytes:
    """The file with another value in an array of its directory."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tag = next(file.pages[0].tags[number] for number in tags if number in file.pages[0].tags)
        size = {3: 2, 4: 4, 16: 8}[int(tag.dtype)]
        at, order = tag.valueoffset + size * index, "little" if file.byteorder == "<" else "big"
    return data[:at] + value.to_bytes(size, order) + data[at + size :]


@pytest.mark.parametrize("kind", KINDS)
def test_whole_file_is_taken(kind):
    with tifffile.TiffFile(io.BytesIO(KINDS[kind])) as file:
        assert decode(KINDS[kind], LIMIT).pixels.shape[:2] == file.pages[0].shape[:2] == (64, 80)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("plain")])
def test_zeros_inside_a_compressed_piece_fail(kind):
    data = KINDS[kind]
    offset, size = pieces(data)[len(pieces(data)) // 2]
    damaged = data[: offset + size // 2] + bytes(size - size // 2) + data[offset + size :]
    with pytest.raises(SampleError) as caught:
        decode(damaged, LIMIT)
    assert caught.value.kind in ("BrokenImage", "TruncatedImage")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("plain")])
def test_piece_that_is_cut_short_fails(kind):
    data = KINDS[kind]
    index = len(pieces(data)) // 2
    with pytest.raises(SampleError) as caught:
        decode(with_entry(data, COUNTS, index, pieces(data)[index][1] // 2), LIMIT)
    assert caught.value.kind in ("BrokenImage", "TruncatedImage")


@pytest.mark.parametrize("kind", ["plain", "plain tiles", "deflate", "deflate 16 bits"])
def test_sparse_file_is_refused_and_not_black(kind):
    count = len(pieces(KINDS[kind]))
    sparse = with_entry(with_entry(KINDS[kind], OFFSETS, 1, 0), COUNTS, 1, 0)
    with pytest.raises(SampleError, match=f"TIFF is sparse: 1 of its {count} strips or tiles"):
        decode(sparse, LIMIT)


@pytest.mark.parametrize("kind", ["plain tiles", "deflate tiles"])
def test_tiles_that_end_behind_the_file_fail(kind):
    # What lies outside the picture is missing at its end, and the rest of it is shifted.
    data = by_tifffile(PIXELS[:60, :70], tile=(64, 64)) if kind == "plain tiles" else KINDS[kind]
    middle = pieces(data)[0][0] + 100
    with pytest.raises(SampleError) as caught:
        decode(data[:middle] + data[middle + 40 :], LIMIT)
    assert caught.value.kind == "TruncatedImage"
