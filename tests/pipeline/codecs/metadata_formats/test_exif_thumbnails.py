"""EXIF loses its thumbnail, and every other byte stays where it is."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from pipeline.codecs.decode import decode
from pipeline.codecs.encode import encode
from pipeline.codecs.metadata_formats.exif import PREFIX
from pipeline.codecs.metadata_formats.exif_thumbnails import without_thumbnail
from tests.conftest import textured

THUMBNAIL = b"\xff\xd8\xff\xe0" + b"what was removed " * 20 + b"\xff\xd9"
MAKER_NOTE = b"maker note with offsets \x01\x02\x03" * 3


def tiff(
    order: str, *, pictures: bytes = THUMBNAIL, at_end: bool = True, link: int | None = None, strips: bool = False
) -> bytes:
    """EXIF of two directories: orientation and maker note, then a thumbnail."""
    first, exif, second = 8, 80, 140
    note_at = 240
    picture_at = note_at + len(MAKER_NOTE) + 4 if at_end else 360
    data = bytearray(picture_at + len(pictures) + (0 if at_end else 40))
    data[:8] = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", first)

    def directory(at: int, entries: list[tuple[int, int, int, bytes]], following: int) -> None:
        body = struct.pack(order + "H", len(entries))
        for tag, kind, count, value in entries:
            body += struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")
        body += struct.pack(order + "I", following)
        data[at : at + len(body)] = body

    long, short = (lambda value: struct.pack(order + "I", value)), (lambda value: struct.pack(order + "H", value))
    directory(first, [(274, 3, 1, short(6)), (34665, 4, 1, long(exif))], second if link is None else link)
    directory(exif, [(37500, 7, len(MAKER_NOTE), long(note_at))], 0)
    tags = (273, 279) if strips else (513, 514)
    directory(second, [(tags[0], 4, 1, long(picture_at)), (tags[1], 4, 1, long(len(pictures)))], 0)
    data[note_at : note_at + len(MAKER_NOTE)] = MAKER_NOTE
    data[picture_at : picture_at + len(pictures)] = pictures
    return bytes(data)


def loaded(exif: bytes) -> Image.Exif:
    tags = Image.Exif()
    tags.load(exif)
    return tags


@pytest.mark.parametrize("prefix", [b"", PREFIX, b"Exif\0\xff"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("strips", [False, True])
@pytest.mark.parametrize("at_end", [False, True])
def test_thumbnail_is_gone_and_offsets_hold(prefix, order, strips, at_end):
    before = tiff(order, strips=strips, at_end=at_end)
    after = without_thumbnail(prefix + before)
    assert after.startswith(prefix)
    after = after[len(prefix) :]
    assert b"removed" not in after and b"\xff\xd8" not in after
    tags = loaded(after)
    assert tags[274] == 6 and tags.get_ifd(34665)[37500] == MAKER_NOTE and not tags.get_ifd(1)
    assert after.index(MAKER_NOTE) == before.index(MAKER_NOTE)
    assert len(after) == len(before) - (len(THUMBNAIL) if at_end else 0)


def test_exif_of_pillow_without_thumbnail_stays_to_the_byte():
    tags = Image.Exif()
    tags[274], tags[270] = 8, "a description"
    tags.get_ifd(34665)[37500] = MAKER_NOTE
    assert without_thumbnail(tags.tobytes()) == tags.tobytes()


@pytest.mark.parametrize("exif", [b"", PREFIX, b"no TIFF", PREFIX + b"II*\0", b"II*\0\xff\xff\xff\xff", tiff("<")[:60]])
def test_what_has_no_thumbnail_stays_to_the_byte(exif):
    assert without_thumbnail(exif) == exif


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("link", [8, 3, 79, 10**6, 2**32 - 1])
def test_link_that_leads_astray_is_cut(order, link):
    after = without_thumbnail(tiff(order, link=link))
    assert loaded(after)[274] == 6
    assert not loaded(after).get_ifd(1)


def test_thumbnail_that_claims_all_of_it_leaves_orientation_alone():
    data = bytearray(tiff("<"))
    place = data.index(struct.pack("<HHI", 513, 4, 1)) + 8
    data[place : place + 4] = struct.pack("<I", 0)
    data[place + 12 : place + 16] = struct.pack("<I", 2**31)
    tags = loaded(without_thumbnail(bytes(data)))
    assert dict(tags) == {274: 6}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_any_cut_and_any_changed_byte_ends_in_exif_or_nothing():
    generator = np.random.default_rng(0)
    whole = tiff("<")
    for length in range(0, len(whole), 7):
        without_thumbnail(whole[:length])
    for _ in range(300):
        data = bytearray(whole)
        for place in generator.integers(4, 200, 4):
            data[place] = generator.integers(256)
        assert isinstance(without_thumbnail(bytes(data)), bytes)


def test_thumbnail_of_a_camera_is_found():
    file = io.BytesIO()
    Image.fromarray(textured(40, 60)).save(file, "JPEG")
    after = without_thumbnail(PREFIX + tiff(">", pictures=file.getvalue()))
    assert b"\xff\xd8\xff" not in after


def of_segments(*contents: bytes) -> bytes:
    file = io.BytesIO()
    Image.fromarray(textured(24, 32)).save(file, "JPEG")
    framed = (b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content for content in contents)
    return file.getvalue()[:2] + b"".join(framed) + file.getvalue()[2:]


LONG = tiff("<", pictures=THUMBNAIL * 200)


@pytest.mark.parametrize("image_format", ["source", "png", "webp"])
@pytest.mark.parametrize(
    "contents",
    [(PREFIX + tiff("<"), PREFIX + tiff(">")), (PREFIX + LONG[:60000], PREFIX + LONG[60000:])],
    ids=["two of them", "over two segments"],
)
def test_exif_of_two_segments_has_no_thumbnail(contents, image_format):
    photo = decode(of_segments(*contents), 10**6)
    data, _ = encode(photo, 255 - photo.pixels, image_format)
    assert b"removed" not in data and photo.orientation == 6
    tags = Image.open(io.BytesIO(data)).getexif()
    assert tags[274] == 6 and tags.get_ifd(34665)[37500] == MAKER_NOTE
