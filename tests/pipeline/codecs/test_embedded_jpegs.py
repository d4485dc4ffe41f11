"""JPEGs inside other bytes become zeros, whatever surrounds them."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.codecs.decode import decode
from pipeline.codecs.embedded_jpegs import without_jpegs
from pipeline.codecs.encode import encode
from pipeline.codecs.exif import PREFIX, loaded
from pipeline.codecs.exif_thumbnails import without_thumbnail
from tests.conftest import saved, textured
from tests.pipeline.codecs.test_removed_stays_removed import jpeg, png_with, resource

SMALL = Image.fromarray(textured(24, 32))
PREVIEWS = {
    "baseline": saved(SMALL, "JPEG"),
    "progressive": saved(SMALL, "JPEG", progressive=True),
    "first byte changed": b"\x02" + saved(SMALL, "JPEG")[1:],
    "without JFIF": saved(SMALL, "JPEG")[:2] + saved(SMALL, "JPEG")[20:],
}
BEFORE, AFTER = b"Nikon\0\2\x10 maker note \xff\xd8 \xff\xd8\xff\xe0", b"serial 12345 \xff\xd9 end"


@pytest.mark.parametrize("case", PREVIEWS)
def test_preview_is_zeros_and_the_rest_stays_to_the_byte(case):
    preview = PREVIEWS[case]
    assert without_jpegs(BEFORE + preview + AFTER) == BEFORE + bytes(len(preview)) + AFTER
    assert without_jpegs(BEFORE + 2 * preview) == BEFORE + bytes(2 * len(preview))
    assert without_jpegs(BEFORE + preview[:-40]) == BEFORE + bytes(len(preview) - 40)


def test_what_only_begins_like_a_jpeg_stays():
    noise = np.random.default_rng(0).integers(0, 256, 1 << 20, np.uint8).tobytes()
    for data in (b"", BEFORE, AFTER, noise):
        assert without_jpegs(data) == data


@pytest.mark.parametrize("unit", [b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xe0\0\2", b"\xff\xd8\xff\xe0\0\x08"])
def test_bytes_full_of_beginnings_are_blanked_instead_of_searched(unit):
    after = without_jpegs(unit * ((1 << 20) // len(unit)))
    assert not any(after[-1000:])


def exif_with(preview: bytes) -> bytes:
    tags = Image.Exif()
    tags[274] = 6
    tags.get_ifd(34665)[37500] = BEFORE + preview + AFTER
    tags[34665] = 0
    return tags.tobytes()


@pytest.mark.parametrize("case", PREVIEWS)
@pytest.mark.parametrize("image_format", ["source", "png", "webp"])
def test_preview_in_a_maker_note_never_shows_what_was_removed(case, image_format):
    preview = PREVIEWS[case]
    photo = decode(jpeg((0xE1, exif_with(preview))), 10**6)
    data, _ = encode(photo, 255 - photo.pixels, image_format)
    note = Image.open(io.BytesIO(data)).getexif().get_ifd(34665)[37500]
    assert note == BEFORE + bytes(len(preview)) + AFTER


@pytest.mark.parametrize("image_format", ["source", "png"])
def test_preview_in_a_tiff_never_shows_what_was_removed(image_format):
    preview = PREVIEWS["baseline"]
    tags = Image.Exif()
    tags[33723] = b"\x1c\2\xca" + preview
    tags.get_ifd(34665)[37500] = BEFORE + preview + AFTER
    tags[34665] = 0
    data = saved(SMALL, "TIFF", exif=tags)
    assert preview[2:] in data
    photo = decode(data, 10**6)
    assert preview[2:] not in encode(photo, photo.pixels, image_format)[0]


def test_preview_in_iptc_never_shows_what_was_removed():
    preview = PREVIEWS["baseline"]
    data = jpeg((0xED, b"Photoshop 3.0\0" + resource(1028, b"\x1c\2\xca" + preview)))
    photo = decode(data, 10**6)
    assert resource(1028, b"\x1c\2\xca" + bytes(len(preview))) in encode(photo, photo.pixels, "source")[0]
    text = b"\niptc\n%8d\n%s\n" % (len(preview), preview.hex().encode())
    photo = decode(png_with((b"tEXt", b"Raw profile type iptc\0" + text)), 10**6)
    assert preview.hex().encode()[8:80] not in encode(photo, photo.pixels, "source")[0]


def test_picture_in_a_directory_below_the_first_is_blanked():
    picture = b"uncompressed pixels of what was removed"
    tags = Image.Exif()
    tags[274] = 6
    tags[330] = 0
    exif = bytearray(tags.tobytes()[len(PREFIX) :])
    name = "little" if exif.startswith(b"II") else "big"
    sub = len(exif)
    place = exif.index((330).to_bytes(2, name)) + 8
    exif[place : place + 4] = sub.to_bytes(4, name)
    entries = ((273, sub + 2 + 24 + 4), (279, len(picture)))
    directory = b"".join(
        tag.to_bytes(2, name) + (4).to_bytes(2, name) + (1).to_bytes(4, name) + value.to_bytes(4, name)
        for tag, value in entries
    )
    exif += (2).to_bytes(2, name) + directory + bytes(4) + picture
    after = without_thumbnail(PREFIX + bytes(exif))
    assert b"removed" not in after and loaded(after)[274] == 6
