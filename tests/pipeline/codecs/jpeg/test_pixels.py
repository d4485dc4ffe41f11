"""JPEG files: the pixels of Pillow where a file is whole, an error wherever a decoder warns of its data."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from pipeline.codecs.decode import decode
from pipeline.codecs.jpeg.pixels import decode_jpeg
from pipeline.codecs.jpeg.scans import read_picture
from pipeline.codecs.photo import Photo
from pipeline.config.job import MaskConfig
from pipeline.errors import SampleError
from pipeline.masks.decode import read_mask
from tests.conftest import ROOT, textured

LIMIT = 1_000_000
PHOTO = Image.fromarray(textured(96, 128))
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
END = b"\xff\xd9"


def jpeg(mode: str = "RGB", **options) -> bytes:
    file = io.BytesIO()
    PHOTO.convert(mode).save(file, "JPEG", **{"quality": 80, **options})
    return file.getvalue()


KINDS = {
    "colour": jpeg(),
    "colour 4:4:4": jpeg(subsampling=0, optimize=True),
    "progressive": jpeg(progressive=True),
    "progressive grey": jpeg("L", progressive=True),
    "grey": jpeg("L"),
    "inks": jpeg("CMYK"),
    "restart markers": jpeg(restart_marker_blocks=4),
    "arithmetic": (ROOT / "tests" / "files" / "arithmetic.jpg").read_bytes(),
    "sampled 3x1": (ROOT / "tests" / "files" / "sampled_3x1.jpg").read_bytes(),
}


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def fate(data: bytes) -> np.ndarray | None:
    """The pixels, or ``None`` for a sample that fails."""
    try:
        return decode(data, LIMIT).pixels
    except SampleError:
        return None


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_those_of_pillow(kind):
    photo = decode(KINDS[kind], LIMIT)
    assert np.array_equal(photo.pixels, by_pillow(KINDS[kind]))
    assert (photo.format, photo.mode) == ("JPEG", Image.open(io.BytesIO(KINDS[kind])).mode)


def test_real_photos_are_sound_and_have_the_pixels_of_pillow():
    files = sorted((ROOT / "tests" / "photos" / "images").glob("*.jpg"))
    assert files
    for file in files:
        data = file.read_bytes()
        assert np.array_equal(decode_jpeg(data, "RGB"), by_pillow(data))


@pytest.mark.parametrize("kind", KINDS)
def test_cut_scan_that_is_closed_by_an_end_marker_fails(kind):
    data = KINDS[kind]
    scan = read_picture(data).scans[0]
    whole, ends = by_pillow(data), range(scan.start, len(data) - 2 - len(data) // 16, 41)
    # What a cut in the very last block takes from an arithmetic code cannot be known.
    silent = [end for end in ends if (found := fate(data[:end] + END)) is not None and not np.array_equal(found, whole)]
    assert not silent and len(ends) > 10


@pytest.mark.parametrize("kind", ["colour", "grey", "inks", "restart markers", "progressive"])
@pytest.mark.parametrize("damage", ["lost", "zeros"])
def test_scan_with_lost_or_zeroed_bytes_fails(kind, damage):
    data = KINDS[kind]
    scan = max(read_picture(data).scans, key=lambda scan: scan.end_in(data) - scan.start)
    middle = (scan.start + scan.end_in(data)) // 2
    lost = min(200, (scan.end_in(data) - middle) // 2)
    broken = data[:middle] + (b"" if damage == "lost" else bytes(lost)) + data[middle + lost :]
    with pytest.raises(SampleError, match=r"JPEG is (truncated or )?damaged"):
        decode(broken, LIMIT)


@pytest.mark.parametrize("left_out", [1, 2, 5])
def test_progressive_file_whose_last_scans_are_missing_fails(left_out):
    data = KINDS["progressive"]
    scans = read_picture(data).scans
    with pytest.raises(SampleError, match="its last scans are missing") as caught:
        decode(data[: scans[-1 - left_out].end_in(data)] + END, LIMIT)
    assert caught.value.kind == "TruncatedImage"


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_mask_is_held_to_the_standard_of_a_photo(mode):
    data, photo = jpeg(mode), Photo(np.zeros((96, 128, 3), np.uint8), "RGB", "PNG")
    config = MaskConfig(max_fraction=1.0)
    assert read_mask(data, photo, config, LIMIT).shape == (96, 128)
    with pytest.raises(SampleError) as caught:
        read_mask(data[: len(data) // 2] + END, photo, config, LIMIT)
    assert (caught.value.stage, caught.value.kind) == ("mask", "TruncatedImage")


def with_byte(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes([value]) + data[at + 1 :]


def harmless() -> dict[str, bytes]:
    colour, grey, inks, profiled = KINDS["colour"], KINDS["grey"], KINDS["inks"], jpeg(icc_profile=PROFILE)
    after_sos = read_picture(colour).scans[0].start
    return {
        "version of JFIF that nobody knows": with_byte(colour, 11, 7),
        "bytes between segments": colour[:20] + b"abc" + colour[20:],
        "profile in pieces that do not fit": with_byte(profiled, profiled.index(b"ICC_PROFILE\0") + 12, 3),
        "scan header of another kind": with_byte(colour, after_sos - 2, 0),
        "colour transform that nobody knows": with_byte(inks, inks.index(b"Adobe") + 11, 9),
        "no end marker": colour[:-2],
        "bytes behind the end": colour + b"a video" * 99,
        "second picture behind the end": colour + KINDS["grey"],
        "grey sampled 2x2": with_byte(grey, grey.index(b"\xff\xc0") + 11, 0x22),
        "fill bytes before a marker": colour[:20] + b"\xff\xff" + colour[20:],
    }


@pytest.mark.parametrize("flaw", harmless())
def test_flaw_that_touches_no_pixel_is_none(flaw):
    data = harmless()[flaw]
    expected = by_pillow(data + END if flaw == "no end marker" else data)  # which Pillow waits for
    assert np.array_equal(decode(data, LIMIT).pixels, expected)


def test_damage_behind_a_harmless_flaw_is_seen():
    flawed = harmless()["version of JFIF that nobody knows"]
    with pytest.raises(SampleError, match="JPEG is truncated or damaged"):
        decode(flawed[: len(flawed) * 2 // 3] + END, LIMIT)
