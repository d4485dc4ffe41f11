"""Files that are not taken: the reason names what they are."""

import io
import struct
from functools import partial

import numpy as np
import pytest
import tifffile
from PIL import Image

import tests.conftest
from pipeline.codecs.decode import decode
from pipeline.codecs.identification.header import open_checked
from pipeline.errors import SampleError
from tests.conftest import textured

LIMIT = 1_000_000
PHOTO = Image.fromarray(textured(16, 24))
saved = partial(tests.conftest.saved, PHOTO)


def tiff(pixels: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def jpeg_of(frame: int, bits: int = 8, height: int = 16, components: int = 3) -> bytes:
    """A JPEG that says it is coded another way."""
    data = bytearray(saved("JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 1], data[at + 4], data[at + 9] = frame, bits, components
    data[at + 5 : at + 7] = struct.pack(">H", height)
    return bytes(data)


PIXELS = textured(16, 24)
REASONS = {
    "empty": (b"", "the file is empty"),
    "html": (b"\n<!DOCTYPE html><title>404</title>", "an HTML page"),
    "error of a store": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML document"),
    "svg": (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG, which has no pixels"),
    "json": (b'{"error": "not found"}', "JSON"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
    "zip": (b"PK\3\4" + bytes(60), "a ZIP archive"),
    "video": (b"\0\0\0\x18ftypisom" + bytes(16), "a video"),
    "zeros": (bytes(4096), "a file that begins with zeros"),
    "jpeg xl": (b"\xff\x0a" + bytes(60), "JPEG XL"),
    "jpeg 2000": (saved("JPEG2000"), "JPEG 2000"),
    "photoshop": (b"8BPS\0\1" + bytes(20), "a Photoshop document"),
    "tga": (saved("TGA"), "a TGA"),
    "packed tga": (saved("TGA", compression="tga_rle"), "a TGA"),
    "icon": (saved("ICO"), "an icon of Windows"),
    "late jpeg": (b"\r\n" + saved("JPEG"), "a JPEG behind 2 byte"),
    "jpeg of 12 bits": (jpeg_of(0xC1, bits=12), "a JPEG of 12 bits"),
    "lossless jpeg": (jpeg_of(0xC3), r"a lossless JPEG \(SOF3\)"),
    "hierarchical jpeg": (jpeg_of(0xC5), r"a hierarchical JPEG \(SOF5\)"),
    "jpeg without a height": (jpeg_of(0xC0, height=0), r"a JPEG whose height is not in its header \(DNL\)"),
    "jpeg-ls": (b"\xff\xd8\xff\xf7\0\x0b\x08\0\x10\0\x18\1\1\x11\0" + bytes(30), r"JPEG-LS \(SOF55\)"),
    "png of an unknown kind": (saved("PNG")[:8] + bytes(60), "PNG"),
    "float tiff": (
        tiff(PIXELS.astype(np.float32)),
        r"a TIFF with floating-point samples \(SampleFormat 3\) of 32 bits",
    ),
    "half tiff": (tiff(PIXELS[..., 0].astype(np.float16)), "floating-point samples .* of 16 bits"),
    "signed tiff": (tiff(PIXELS[..., 0].astype(np.int16)), r"signed samples \(SampleFormat 2\) of 16 bits"),
    "tiff of 32 bits": (tiff(PIXELS.astype(np.uint32)), "a TIFF of 32 bits per sample"),
    "jpeg 2000 in tiff": (
        tiff(PIXELS, compression="jpeg2000", photometric="rgb"),
        r"a TIFF compressed as JPEG 2000 \(compression \d+\)",
    ),
    "cut webp": (saved("WEBP")[:20], "the file begins as WEBP, but cannot be opened: "),
    "cut avif": (b"\0\0\0 ftypavif\0\0\0\0avifmif1miaf", "the file begins as AVIF, but cannot be opened: "),
    "text": (b"hello, I am a text file", "not a supported image .*hello"),
}


@pytest.mark.parametrize("case", REASONS)
def test_reason_names_what_the_file_is(case):
    data, reason = REASONS[case]
    with pytest.raises(SampleError, match=reason) as caught:
        decode(data, LIMIT)
    assert caught.value.stage == "decode" and " at 0x" not in caught.value.message


@pytest.mark.parametrize("container", ["PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "PPM", "AVIF"])
def test_broken_header_is_never_that_of_something_else(container):
    data = saved(container)
    assert open_checked(data, LIMIT).format == container
    for end in (12, 16, 20, 24, 30):
        try:
            open_checked(data[:end], LIMIT)
        except SampleError as error:
            assert "not a supported image" not in error.message and container in error.message, error.message


@pytest.mark.parametrize(
    ("extra", "reason"),
    [([], "a TIFF, as raw photos"), ([(50706, 1, 4, bytes([1, 4, 0, 0]), True)], "a raw photo of a camera")],
    ids=["raw photo", "dng"],
)
def test_thumbnail_is_not_taken_for_the_picture(extra, reason):
    def inside(kinds: tuple[int, int], first: np.ndarray, second: np.ndarray) -> bytes:
        file = io.BytesIO()
        with tifffile.TiffWriter(file) as writer:
            writer.write(first, photometric="rgb", subifds=1, subfiletype=kinds[0], extratags=extra)
            writer.write(second, photometric="rgb", subfiletype=kinds[1])
        return file.getvalue()

    with pytest.raises(SampleError, match=rf"{reason}.* whose first picture is a thumbnail"):
        decode(inside((1, 0), PIXELS[::4, ::4], PIXELS), LIMIT)
    assert decode(inside((0, 1), PIXELS, PIXELS[::4, ::4]), LIMIT).pixels.shape == PIXELS.shape  # a pyramid


@pytest.mark.parametrize("kind", [1, 2, 5, 7, 11])
def test_depth_of_another_type_fails_the_sample(kind):
    data = bytearray(saved("TIFF"))
    at = data.index(struct.pack("<HH", 258, 3))
    data[at + 2 : at + 4] = struct.pack("<H", kind)
    with pytest.raises(SampleError):
        decode(bytes(data), LIMIT)
