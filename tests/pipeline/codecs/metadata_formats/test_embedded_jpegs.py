"""JPEGs inside other bytes become zeros, whatever surrounds them."""

import io
import zlib
from base64 import b64encode

import numpy as np
import pytest
from PIL import Image

from pipeline.codecs.decode import decode
from pipeline.codecs.encode import encode
from pipeline.codecs.metadata_formats.embedded_jpegs import without_jpegs
from pipeline.codecs.metadata_formats.exif import PREFIX, loaded
from pipeline.codecs.metadata_formats.exif_thumbnails import without_thumbnail
from tests.conftest import saved, textured
from tests.pipeline.codecs.metadata_formats.test_xmp import packet
from tests.pipeline.codecs.test_removed_stays_removed import extension, framed_segment, jpeg, png_with, resource

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


LINE_ENDS = {"none": (10**6, b""), "of mail": (76, b"\r\n"), "of XML": (72, b"&#xA;"), "short": (20, b"\n\t ")}


def in_base64(data: bytes, line_ends: str) -> bytes:
    length, end = LINE_ENDS[line_ends]
    letters = b64encode(data)
    return end.join(letters[at : at + length] for at in range(0, len(letters), length))


@pytest.mark.parametrize("case", PREVIEWS)
@pytest.mark.parametrize("line_ends", LINE_ENDS)
def test_preview_in_base64_becomes_zeros_and_the_rest_stays_to_the_byte(case, line_ends):
    preview = PREVIEWS[case]
    for before in (b"", b"8", b"88", b"8BIM"):  # which shift the letters
        text, after = (in_base64(before + part + AFTER, line_ends) for part in (preview, bytes(len(preview))))
        for around in (b'<p:Preview xmlns:p="a">%s</p:Preview>', b'a:b="%s"', b"data:image/jpeg;base64,%s", b"abc%s"):
            assert without_jpegs(around % text) == around % after


def test_base64_without_a_jpeg_stays():
    noise = np.random.default_rng(0).integers(0, 256, 1 << 18, np.uint8).tobytes()
    for line_ends in LINE_ENDS:
        text = in_base64(noise + BEFORE, line_ends)
        assert without_jpegs(text) == text


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


PREVIEW = PREVIEWS["baseline"]
BASE64 = b64encode(PREVIEW)
DESCRIPTION = '<rdf:Description xmlns:q="http://vendor/preview/" q:Kept="kept">%s</rdf:Description>'
XMP = packet(DESCRIPTION % f"<q:Preview>{BASE64.decode()}</q:Preview>")
XMP_NAME = b"http://ns.adobe.com/xap/1.0/\0"
NOTE = 'xmlns:n="http://ns.adobe.com/xmp/note/" n:HasExtendedXMP="' + "A" * 32 + '"'


def raw_profile(kind: bytes, profile: bytes) -> tuple[bytes, bytes]:
    text = b"\n%s\n%8d\n%s\n" % (kind, len(profile), profile.hex().encode())
    return b"zTXt", b"Raw profile type " + kind + b"\0\0" + zlib.compress(text)


PLACES = {
    "comment": jpeg((0xFE, b"kept" + PREVIEW)),
    "comments": jpeg((0xFE, b"kept" + PREVIEW[:-160]), (0xFE, PREVIEW[-160:])),
    "APP13 of another program": jpeg((0xED, b"Adobe_CM\0kept" + PREVIEW)),
    "older Photoshop": jpeg((0xED, b"Adobe_Photoshop2.5:kept" + PREVIEW)),
    "resource of a plug-in": jpeg((0xED, b"Photoshop 3.0\0" + resource(4000, b"kept" + PREVIEW))),
    "behind the resources": jpeg((0xED, b"Photoshop 3.0\0" + resource(4000, b"kept") + PREVIEWS["first byte changed"])),
    "profile": jpeg((0xE2, b"ICC_PROFILE\0\1\1kept" + PREVIEW)),
    "EXIF that is none": jpeg((0xE1, b"Exif\0\0kept" + PREVIEW)),
    "XMP that is none": jpeg((0xE1, XMP_NAME + b"kept" + PREVIEW)),
    "XMP of a JPEG": jpeg((0xE1, XMP_NAME + XMP)),
    "second part of XMP": jpeg((0xE1, XMP_NAME + packet(f'<d {NOTE} a="kept"/>')), *extension(XMP)),
    "XMP of a PNG": png_with((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)),
    "XMP of a WebP": saved(SMALL, "WEBP", xmp=XMP),
    "XMP of a TIFF": saved(SMALL, "TIFF", tiffinfo={700: XMP}),
    "description of a TIFF": saved(SMALL, "TIFF", description=b"kept " + BASE64),
    "text": png_with((b"tEXt", b"Thumbnail\0kept " + BASE64)),
    "plain text": png_with((b"tEXt", b"Thumbnail\0kept" + PREVIEW)),
    "packed text": png_with((b"zTXt", b"Thumbnail\0\0" + zlib.compress(b"kept " + BASE64))),
    "behind a packed text": png_with((b"zTXt", b"Thumbnail\0\0" + zlib.compress(b"kept ") + PREVIEW)),
    "behind a packed XMP": png_with(
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(packet("<d/>")) + PREVIEW)
    ),
    "international text": png_with((b"iTXt", b"Thumbnail\0\0\0de\0Bild\0kept " + BASE64)),
    "packed international text": png_with((b"iTXt", b"Thumbnail\0\1\0de\0Bild\0" + zlib.compress(b"kept " + BASE64))),
    "colour chunk": png_with((b"gAMA", bytes((0, 0, 177, 143)) + b"kept" + PREVIEW)),
    "raw profile APP13": png_with(
        raw_profile(b"APP13", b"Photoshop 3.0\0" + resource(1005, b"kept") + resource(1036, bytes(28) + PREVIEW))
    ),
    "raw profile generic": png_with(raw_profile(b"generic", b"kept" + PREVIEW)),
    "raw profile 8bim": png_with(raw_profile(b"8bim", resource(4000, b"kept" + PREVIEW))),
}


def shown(data: bytes) -> bytes:
    """A file with all its texts, unpacked and also from hexadecimal digits."""
    image = Image.open(io.BytesIO(data))
    texts = [str(value) for value in image.info.values()]
    digits = [text.strip().split("\n", 2)[2] for key, text in image.info.items() if str(key).startswith("Raw")]
    return data + "".join(texts).encode("latin-1", "replace") + b"".join(map(bytes.fromhex, digits))


@pytest.mark.parametrize("case", PLACES)
def test_jpeg_anywhere_in_metadata_never_shows_what_was_removed(case):
    before, photo = shown(PLACES[case]), decode(PLACES[case], 10**6)
    assert PREVIEW[-150:] in before or BASE64[-200:] in before or case == "second part of XMP"
    for image_format in ("source", "png"):
        after = shown(encode(photo, photo.pixels, image_format)[0])
        assert PREVIEW[-150:-2] not in after and BASE64[-200:-4] not in after
        assert b"kept" in after or image_format == "png" or case == "behind a packed XMP"


def test_comments_and_resources_without_a_jpeg_stay_to_the_byte():
    parts = [
        (0xFE, b"a comment \xff\xd8\xff\xe0"),
        (0xED, b"Photoshop 3.0\0" + resource(4000, b"of a plug-in" + b64encode(BEFORE))),
        (0xED, b"Adobe_CM\0a"),
        (0xFE, b"another"),
    ]
    photo = decode(jpeg(*parts), 10**6)
    data, _ = encode(photo, photo.pixels, "source")
    assert b"".join(framed_segment(*part) for part in parts) in data
