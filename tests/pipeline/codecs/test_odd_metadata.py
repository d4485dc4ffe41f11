"""What stands beside the pixels may be anything: sound pixels come through, and of the rest what has a meaning."""

import io
import struct
import zlib
from functools import partial

import numpy as np
import pytest
from PIL import Image

import tests.conftest
from pipeline.codecs.decode import decode
from pipeline.codecs.encode import encode
from pipeline.codecs.png.chunks import SIGNATURE, framed
from tests.conftest import textured

LIMIT = 10_000_000
RGB = Image.fromarray(textured(40, 60))
saved = partial(tests.conftest.saved, RGB)


def again(data: bytes, image_format: str) -> Image.Image:
    photo = decode(data, LIMIT)
    return Image.open(io.BytesIO(encode(photo, photo.pixels, image_format)[0]))


def test_jpeg_whose_exif_is_none_keeps_it_to_the_byte():
    segment = b"\xff\xe1" + struct.pack(">H", 40_002 + 6) + b"Exif\0\0" + b"no TIFF " * 5000
    jpeg = saved("JPEG")
    result = encode(photo := decode(jpeg[:2] + segment * 2 + jpeg[2:], LIMIT), photo.pixels, "jpeg")[0]
    assert result.count(segment) == 2


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
@pytest.mark.parametrize("image_format", ["source", "png", "jpeg"])
@pytest.mark.parametrize(("tag", "kind", "value"), [(274, 3, 0), (274, 3, 255), (270, 3, 7), (282, 2, "far")])
def test_tag_of_a_tiff_that_is_nonsense_is_left_out(tag, kind, value, image_format, compression):
    data = _with_tag(saved("TIFF", compression=compression, dpi=(72, 72), description="x" * 9), tag, kind, value)
    assert again(data, image_format).size == RGB.size


def _with_tag(tiff: bytes, tag: int, kind: int, value: int | str) -> bytes:
    """A TIFF with one short entry more, or changed, in a directory written anew at its end."""
    (start,) = struct.unpack_from("<I", tiff, 4)
    (count,) = struct.unpack_from("<H", tiff, start)
    entries = [tiff[start + 2 + 12 * index :][:12] for index in range(count)]
    entries = [entry for entry in entries if struct.unpack_from("<H", entry)[0] != tag]
    text = value.encode() + b"\0" if isinstance(value, str) else struct.pack("<HH", value, 0)
    entries.append(struct.pack("<HHI", tag, kind, len(text) if isinstance(value, str) else 1) + text)
    body = struct.pack("<H", len(entries)) + b"".join(
        sorted(entries, key=lambda entry: struct.unpack_from("<H", entry))
    )
    return tiff[:4] + struct.pack("<I", len(tiff)) + tiff[8:] + body + bytes(4)


def test_webp_is_lossless_when_it_is_asked_for_whatever_the_file_was():
    photo = decode(saved("WEBP", quality=50), LIMIT)
    assert np.array_equal(np.asarray(again(saved("WEBP", quality=50), "webp")), photo.pixels)


@pytest.mark.parametrize(("bits", "row"), [(2, b"\x1b"), (4, b"\x0f\x3c")])
def test_transparent_grey_of_few_bits_stays_transparent(bits, row):
    width, clear = 4, (1 << bits) - 1
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, 1, bits, 0, 0, 0, 0)),
        (b"tRNS", struct.pack(">H", clear)),
        (b"IDAT", zlib.compress(b"\0" + row)),
        (b"IEND", b""),
    ]
    data = SIGNATURE + b"".join(map(framed, chunks))
    alpha = decode(data, LIMIT).alpha
    values = [row[index * bits // 8] >> (8 - bits - index * bits % 8) & clear for index in range(width)]
    assert alpha is not None and alpha[0].tolist() == [0 if value == clear else 255 for value in values]
