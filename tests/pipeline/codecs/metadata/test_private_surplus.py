"""``sink.metadata=private`` leaves no room for other bytes in what it keeps."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pipeline.codecs.decode import decode
from pipeline.codecs.encode import encode_filled
from pipeline.codecs.jpeg.segments import new_segments
from pipeline.codecs.metadata.policy import passed_through, with_policy
from pipeline.codecs.png.chunks import Chunk, read_chunks
from pipeline.codecs.webp.chunks import read_chunks as read_webp_chunks
from tests.conftest import saved, textured
from tests.pipeline.codecs.metadata.telltale_photos import PROFILE
from tests.pipeline.codecs.metadata.test_policy import LIMIT, filled, pixels_of
from tests.pipeline.codecs.test_removed_stays_removed import framed_segment, png_with, profile_of

SECRET = b"Erika Mustermann"
RGB = Image.fromarray(textured(40, 60))
RGBA = Image.fromarray(np.dstack([textured(40, 60), textured(40, 60)[..., :1]]))
FORMATS = ("source", "png", "webp", "jpeg")
ICCP = b"a name\0\0" + zlib.compress(PROFILE)
SOUND: list[Chunk] = [
    (b"gAMA", struct.pack(">I", 45455)),
    (b"pHYs", struct.pack(">IIB", 3000, 3000, 1)),
    (b"sRGB", b"\0"),
    (b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)),
    (b"cICP", b"\1\x0d\0\1"),
    (b"mDCV", bytes(24)),
    (b"cLLI", bytes(8)),
    (b"sBIT", b"\x08\x08\x08"),
]
PNGS = {
    **{f"long {name.decode()}": [(name, content + SECRET)] for name, content in SOUND},
    **{
        f"second {name.decode()}": [(name, content), (name, (SECRET * 2)[: len(content)])]
        for name, content in SOUND[1:7]
    },
    "bytes behind the packed profile": [(b"iCCP", ICCP + SECRET)],
    "bytes behind the profile": [(b"iCCP", b"a name\0\0" + zlib.compress(PROFILE + SECRET))],
    "second profile": [(b"iCCP", ICCP), (b"iCCP", b"x\0\0" + zlib.compress(profile_of(1000)[:900] + SECRET))],
    "no profile": [(b"iCCP", b"x\0\0" + zlib.compress(SECRET * 20))],
}
JPEGS = {
    "one that is none": framed_segment(0xE2, b"ICC_PROFILE\0\1\1" + SECRET * 20),
    "one that fits no number": new_segments(b"", PROFILE) + framed_segment(0xE2, b"ICC_PROFILE\0" + SECRET),
    "bytes behind it": new_segments(b"", PROFILE + SECRET),
}


def unchanged(source: bytes) -> bytes:
    """The private result of a photo without a hole."""
    photo = decode(source, LIMIT)
    if (data := passed_through(photo, source, "private")) is not None:
        return data
    photo, _ = with_policy(photo, photo.format, "private", None)
    return encode_filled(photo, photo.pixels, "source", source, np.zeros(photo.pixels.shape[:2], bool))[0]


def results(source: bytes, formats=FORMATS) -> list[bytes]:
    return [unchanged(source), *(filled(source, "private", name)[0] for name in formats)]


def has_secret(data: bytes) -> bool:
    """Whether a file has the secret, or a colour chunk's worth of it, also in a profile."""
    parts = [data, Image.open(io.BytesIO(data)).info.get("icc_profile") or b""]
    if data.startswith(b"\x89PNG"):
        packed = [content.partition(b"\0")[2][1:] for name, content in read_chunks(data) if name == b"iCCP"]
        parts += [zlib.decompressobj().decompress(content) for content in packed]
    return any(SECRET[:4] in part for part in parts)


@pytest.mark.parametrize("case", PNGS)
def test_chunk_of_a_private_png_has_no_room_for_other_bytes(case):
    source = png_with(*PNGS[case])
    assert has_secret(filled(source, "keep")[0]) or case in ("second sRGB", "long sBIT")
    for data in results(source):
        assert not has_secret(data)
    profile = Image.open(io.BytesIO(unchanged(source))).info.get("icc_profile")
    assert profile == (
        PROFILE if "iCCP" in {name.decode() for name, _ in PNGS[case]} and case != "no profile" else None
    )


def test_sound_colour_chunks_of_a_private_png_stay_to_the_byte():
    for data in results(png_with(*SOUND), ("source", "png")):
        assert set(SOUND) <= set(read_chunks(data))
    profile = profile_of(3 << 20)
    profile = len(profile).to_bytes(4, "big") + profile[4:]
    source = png_with((b"iCCP", b"a name\0\0" + zlib.compress(profile)))
    for data in results(source):
        assert decode(data, LIMIT).encoder["icc_profile"] == profile


@pytest.mark.parametrize("case", JPEGS)
def test_profile_of_a_private_jpeg_has_no_room_for_other_bytes(case):
    plain = saved(RGB, "JPEG")
    source = plain[:20] + JPEGS[case] + plain[20:] + SECRET
    assert has_secret(filled(source, "keep")[0])
    for data in results(source):
        assert not has_secret(data)
    profile = Image.open(io.BytesIO(unchanged(source))).info.get("icc_profile")
    assert profile == (PROFILE if case == "bytes behind it" else None)


def test_long_profile_of_a_private_jpeg_stays_to_the_byte():
    profile = profile_of(200_000)
    profile = len(profile).to_bytes(4, "big") + profile[4:]
    source = saved(RGB, "JPEG", icc_profile=profile)
    for data in results(source):
        assert Image.open(io.BytesIO(data)).info["icc_profile"] == profile


@pytest.mark.parametrize("length", [0, 3, 20])
def test_header_segments_of_a_private_jpeg_have_no_room_for_other_bytes(length):
    plain = saved(RGB, "JPEG")
    jfif = framed_segment(0xE0, plain[6:20] + (SECRET + bytes(20))[:length])
    adobe = framed_segment(0xEE, b"Adobe\0\x64\0\0\0\0\1" + SECRET)
    source = plain[:2] + jfif + adobe + plain[20:]
    for data in results(source):
        assert not has_secret(data) and SECRET[:3] not in data


def webp(chunks: list[Chunk]) -> bytes:
    content = b"WEBP" + b"".join(
        name + len(content).to_bytes(4, "little") + content + bytes(len(content) % 2) for name, content in chunks
    )
    return b"RIFF" + len(content).to_bytes(4, "little") + content


LOSSY, LOSSLESS, CLEAR = (
    list(read_webp_chunks(saved(image, "WEBP", icc_profile=PROFILE, **options)))
    for image, options in ((RGB, {"quality": 80}), (RGB, {"lossless": True}), (RGBA, {"quality": 80}))
)
WEBPS = {
    "alpha behind the picture": [*LOSSY, (b"ALPH", SECRET)],
    "alpha behind a lossless picture": [*LOSSLESS, (b"ALPH", SECRET)],
    "reserved bytes": [(name, content[:1] + SECRET[:3] + content[4:]) for name, content in LOSSY[:1]] + LOSSY[1:],
    "unknown chunk": [*CLEAR, (b"SECR", SECRET)],
}


@pytest.mark.parametrize("case", WEBPS)
def test_private_webp_without_a_hole_has_each_chunk_of_its_pixels_once(case):
    source = webp(WEBPS[case])
    before = decode(source, LIMIT).pixels
    data = unchanged(source)
    assert not has_secret(data) and SECRET[:3] not in data and np.array_equal(decode(data, LIMIT).pixels, before)


@pytest.mark.parametrize("chunks", [[(b"VP8 ", SECRET)], [(b"VP8L", SECRET)], [(b"ALPH", SECRET)]])
def test_private_webp_without_a_hole_ends_with_its_file(chunks):
    source = webp(CLEAR) + webp(chunks)[12:]
    data = unchanged(source)
    assert not has_secret(data) and np.array_equal(pixels_of(data), pixels_of(source))
