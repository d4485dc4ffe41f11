"""Results announce nothing that was cut off, and no thumbnail of theirs shows what was removed, in any format."""

import io
import struct
import zlib
from functools import partial

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

import tests.conftest
from pipeline.codecs.decode import decode
from pipeline.codecs.encode import check_encodable, encode
from pipeline.codecs.jpeg_markers import header_segments
from pipeline.codecs.png.chunks import SIGNATURE, framed, read_chunks
from pipeline.errors import SampleError
from tests.conftest import textured
from tests.pipeline.codecs.metadata_formats.test_exif_thumbnails import MAKER_NOTE, THUMBNAIL, tiff
from tests.pipeline.codecs.metadata_formats.test_xmp import CAMERA, CONTAINER, GAIN, packet

LIMIT = 1_000_000
RGB = Image.fromarray(textured(40, 60))
saved = partial(tests.conftest.saved, RGB)
EXIF = b"Exif\0\0" + tiff("<")
XMP = packet(
    f'<rdf:Description {GAIN} {CAMERA} {CONTAINER} g:Version="1.0" c:MotionPhoto="1" c:Burst="7">'
    "<Container:Directory><rdf:Seq/></Container:Directory></rdf:Description>"
)
UNTRUE = (b"what was removed", b"MotionPhoto", b"Directory", b"hdr-gain-map", b"g:Version")


def framed_segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def jpeg(*contents: tuple[int, bytes]) -> bytes:
    plain = saved("JPEG")
    return plain[:2] + b"".join(framed_segment(*content) for content in contents) + plain[2:]


def resource(number: int, content: bytes, name: bytes = b"") -> bytes:
    named = bytes((len(name),)) + name
    named += bytes(len(named) % 2)
    return (
        b"8BIM"
        + struct.pack(">H", number)
        + named
        + struct.pack(">I", len(content))
        + content
        + bytes(len(content) % 2)
    )


def encoded(data: bytes, image_format: str = "source") -> bytes:
    photo = decode(data, LIMIT)
    check_encodable(photo, image_format)
    return encode(photo, photo.pixels, image_format)[0]


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    header, *rest = read_chunks(saved("PNG"))
    return SIGNATURE + b"".join(map(framed, (header, *chunks, *rest)))


ITXT = b"XML:com.adobe.xmp\0"
INPUTS = {
    "jpeg": jpeg((0xE1, EXIF), (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)),
    "png": png_with((b"eXIf", tiff("<")), (b"iTXt", ITXT + b"\0\0\0\0" + XMP)),
    "png packed": png_with((b"eXIf", tiff(">")), (b"iTXt", ITXT + b"\1\0\0\0" + zlib.compress(XMP))),
    "webp": saved("WEBP", exif=EXIF, xmp=XMP),
    "webp lossless": saved("WEBP", lossless=True, exif=EXIF[6:], xmp=XMP),
}


@pytest.mark.parametrize("image_format", ["source", "png", "webp", "jpeg"])
@pytest.mark.parametrize("case", INPUTS)
def test_exif_and_xmp_stay_without_what_was_removed(case, image_format):
    assert all(text in INPUTS[case] for text in UNTRUE) or case == "png packed"
    after = encoded(INPUTS[case], image_format)
    assert not any(text in after for text in UNTRUE)
    image = Image.open(io.BytesIO(after))
    assert image.getexif()[274] == 6 and image.getexif().get_ifd(34665)[37500] == MAKER_NOTE
    xmp = image.info["xmp"]
    assert b'c:Burst="7"' in (xmp.encode() if isinstance(xmp, str) else xmp)


@pytest.mark.parametrize("image_format", ["source", "png"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_tiff_loses_thumbnails_of_photoshop_and_untrue_xmp(compression, image_format):
    blocks = resource(1028, b"iptc", b"name") + resource(1036, THUMBNAIL) + resource(1005, b"resolution")
    after = encoded(saved("TIFF", compression=compression, tiffinfo={700: XMP, 34377: blocks}), image_format)
    assert not any(text in after for text in UNTRUE)
    image = Image.open(io.BytesIO(after))
    assert b'c:Burst="7"' in image.info["xmp"]
    if image.format == "TIFF":
        assert image.tag_v2[34377] == resource(1028, b"iptc", b"name") + resource(1005, b"resolution")


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_photoshop_resources_over_several_segments_lose_their_thumbnails(cut):
    blocks = resource(1028, b"iptc") + resource(1033, THUMBNAIL) + resource(1058, EXIF[6:]) + resource(1060, XMP)
    parts = [blocks[:cut], blocks[cut:]] if cut else [blocks]
    after = encoded(jpeg(*((0xED, b"Photoshop 3.0\0" + part) for part in parts)))
    assert not any(text in after for text in UNTRUE)
    assert resource(1028, b"iptc") in after and MAKER_NOTE in after and b'c:Burst="7"' in after


def test_photoshop_resources_without_thumbnails_stay_to_the_byte():
    parts = [framed_segment(0xED, b"Photoshop 3.0\0" + part) for part in (resource(1028, b"ipt"), b"and more")]
    data = saved("JPEG")
    after = encoded(data[:2] + b"".join(parts) + data[2:])
    assert b"".join(parts) in after
    broken = b"Photoshop 3.0\0" + resource(1036, THUMBNAIL)[:-30]
    assert b"removed" not in encoded(jpeg((0xED, broken)))


def extension(whole: bytes, at_once: int = 200) -> list[tuple[int, bytes]]:
    name = b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32
    return [
        (0xE1, name + struct.pack(">II", len(whole), start) + whole[start : start + at_once])
        for start in range(0, len(whole), at_once)
    ]


NOTE = 'xmlns:n="http://ns.adobe.com/xmp/note/" n:HasExtendedXMP="' + "A" * 32 + '"'
IMAGE = packet('<d xmlns:i="http://ns.google.com/photos/1.0/image/" i:Data="' + "the photo as it was " * 30 + '"/>')


def test_second_part_of_a_long_xmp_stays_unless_it_holds_a_picture():
    main = (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet(f'<d {NOTE} a="kept"/>'))
    sound = [main, *extension(packet("<d>" + "long " * 100 + "</d>"))]
    after = encoded(jpeg(*sound))
    assert all(framed_segment(*segment) in after for segment in sound)
    after = encoded(jpeg(main, *reversed(extension(IMAGE))))
    assert b"as it was" not in after and b"HasExtendedXMP" not in after and b'a="kept"' in after


def test_jpeg_announces_no_further_picture_video_or_thermal_image():
    data = jpeg(
        (0xE0, b"JFXX\0\x10" + THUMBNAIL),
        (0xE1, b"FLIR\0" + THUMBNAIL),
        (0xE2, b"MPF\0II*\0"),
        (0xE2, b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0"),
    )
    after = encoded(data + saved("JPEG") + b"ftypmp42")
    assert all(text not in after for text in (b"FLIR", b"MPF", b"21496", b"removed", b"ftyp", b"JFXX"))
    assert after.count(b"\xff\xd8\xff") == 1 and after.endswith(b"\xff\xd9")
    assert len(list(header_segments(after)))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("kind", "profile", "kept"),
    [
        (b"exif", EXIF, MAKER_NOTE),
        (b"APP1", b"http://ns.adobe.com/xap/1.0/\0" + XMP, b'c:Burst="7"'),
        (b"xmp", XMP, b'c:Burst="7"'),
        (b"8bim", resource(1036, THUMBNAIL) + resource(1028, b"iptc"), b"iptc"),
    ],
)
def test_raw_profiles_of_a_png_lose_the_same(kind, profile, kept, packed):
    digits = b"\n".join(profile.hex()[at : at + 72].encode() for at in range(0, 2 * len(profile), 72))
    text = b"\n%s\n%8d\n%s\n" % (kind, len(profile), digits)
    keyword = b"Raw profile type " + kind
    chunk = (b"zTXt", keyword + b"\0\0" + zlib.compress(text)) if packed else (b"tEXt", keyword + b"\0" + text)
    after = Image.open(io.BytesIO(encoded(png_with(chunk))))
    name, length, digits = after.info[keyword.decode()].strip().split("\n", 2)
    read = bytes.fromhex(digits)
    assert name.encode() == kind and int(length) == len(read) and kept in read
    assert not any(text in read for text in UNTRUE)


def profile_of(length: int) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, length, np.uint8).tobytes()
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()[:128] + noise[128:]


def test_large_profile_of_a_png_stays_to_the_byte():
    profile = profile_of(3 << 20)
    chunk = (b"iCCP", b"a profile\0\0" + zlib.compress(profile))
    after = encoded(png_with(chunk))
    assert chunk in read_chunks(after)
    assert decode(after, LIMIT).encoder["icc_profile"] == profile
    assert Image.open(io.BytesIO(encoded(png_with(chunk), "webp"))).info["icc_profile"] == profile
    assert Image.open(io.BytesIO(encoded(png_with(chunk), "jpeg"))).info["icc_profile"] == profile


def test_damage_of_a_png_with_a_large_profile_is_still_found():
    data = bytearray(png_with((b"iCCP", b"a profile\0\0" + zlib.compress(profile_of(2 << 20)))))
    data[data.index(b"IDAT") + 200] ^= 1
    with pytest.raises(SampleError, match="checksum of its IDAT chunk"):
        decode(bytes(data), LIMIT)


def test_profile_that_is_a_bomb_is_refused():
    with pytest.raises(SampleError, match="too large"):
        decode(png_with((b"iCCP", b"a bomb\0\0" + zlib.compress(bytes(200 << 20)))), LIMIT)


@pytest.mark.parametrize("container", ["TIFF", "JPEG", "WEBP"])
@pytest.mark.parametrize("excess", [0, 1])
def test_png_is_refused_before_the_model_runs_where_pillow_would_not_open_it(container, excess):
    data = saved(container, icc_profile=profile_of((1 << 20) - 1 + excess))
    if excess:
        with pytest.raises(SampleError, match="1048576 bytes") as caught:
            check_encodable(decode(data, LIMIT), "png")
        assert caught.value.kind == "UnsupportedMetadata"
        assert len(Image.open(io.BytesIO(encoded(data))).info["icc_profile"]) == 1 << 20
    else:
        assert len(Image.open(io.BytesIO(encoded(data, "png"))).info["icc_profile"]) == (1 << 20) - 1
    assert PngImagePlugin.MAX_TEXT_CHUNK == 1 << 20
