import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from moebius.windows import Box
from pipeline.codecs.decode import decode
from pipeline.codecs.encode import check_encodable, encode
from pipeline.codecs.photo import Photo
from pipeline.errors import SampleError
from tests.conftest import saved, textured

LIMIT = 10_000_000
RGB = Image.fromarray(textured(40, 60))
ALPHA = Image.fromarray(np.arange(2400, dtype=np.uint8).reshape(40, 60))
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def rgba() -> Image.Image:
    image = RGB.convert("RGBA")
    image.putalpha(ALPHA)
    return image


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010E] = "a description"
    return tags.tobytes()


def sixteen_bit() -> Image.Image:
    return Image.fromarray((np.arange(2400, dtype=np.uint16) * 27).reshape(40, 60))


LOSSLESS = {
    "png rgb": saved(RGB, "PNG"),
    "png grey": saved(RGB.convert("L"), "PNG"),
    "png grey alpha": saved(rgba().convert("LA"), "PNG"),
    "png alpha": saved(rgba(), "PNG"),
    "png 16 bit": saved(sixteen_bit(), "PNG"),
    "png palette": saved(RGB.quantize(64), "PNG"),
    "png palette transparent": saved(RGB.quantize(64), "PNG", transparency=3),
    "png bilevel": saved(RGB.convert("1"), "PNG"),
    "webp lossless": saved(rgba(), "WEBP", lossless=True, exact=True),
    "tiff cmyk": saved(RGB.convert("CMYK"), "TIFF", compression="tiff_deflate"),
    "tiff 16 bit": saved(sixteen_bit(), "TIFF"),
    "bmp": saved(RGB, "BMP"),
    "ppm": saved(RGB, "PPM"),
    "one pixel": saved(RGB.resize((1, 1)), "PNG"),
}
LOSSY = {
    "jpeg": saved(RGB, "JPEG", quality=90),
    "jpeg grey": saved(RGB.convert("L"), "JPEG"),
    "jpeg cmyk": saved(RGB.convert("CMYK"), "JPEG"),
    "jpeg progressive 4:4:4": saved(RGB, "JPEG", progressive=True, subsampling=0, quality=80),
    "webp lossy": saved(RGB, "WEBP", quality=80),
}


def comparable(data: bytes) -> np.ndarray:
    """Pixels as any viewer sees them, palette resolved, nothing rounded."""
    image = Image.open(io.BytesIO(data))
    if image.mode in ("P", "1") or "transparency" in image.info:
        image = image.convert("RGBA" if "transparency" in image.info else "RGB" if image.mode == "P" else "L")
    return np.asarray(image)


HOLE = Box(10, 5, 20, 30)


def repaint(data: bytes, image_format: str = "source") -> tuple[bytes, np.ndarray, str]:
    photo = decode(data, LIMIT)
    mask = np.zeros(photo.pixels.shape[:2], bool)
    mask[HOLE.slices] = True
    before, patch = photo.pixels.copy(), photo.rgb()[HOLE.slices].copy()
    patch[:] = (200, 100, 50)
    pixels = photo.repaint(patch, mask[HOLE.slices], HOLE)
    assert np.array_equal(pixels[~mask], before[~mask])
    encoded, container = encode(photo, pixels, image_format)
    return encoded, mask, container


@pytest.mark.parametrize("case", LOSSLESS)
def test_lossless_source_keeps_every_pixel_outside_the_mask(case):
    before = comparable(LOSSLESS[case])
    encoded, mask, container = repaint(LOSSLESS[case])
    after = comparable(encoded)
    assert container == Image.open(io.BytesIO(LOSSLESS[case])).format
    assert after.shape == before.shape and after.dtype == before.dtype
    assert np.array_equal(after[~mask], before[~mask])
    if mask.any():
        assert not np.array_equal(after[mask], before[mask])


@pytest.mark.parametrize("case", LOSSY)
def test_lossy_source_keeps_format_mode_and_size_in_bytes(case):
    encoded, _, _ = repaint(LOSSY[case])
    before, after = (Image.open(io.BytesIO(data)) for data in (LOSSY[case], encoded))
    assert (after.format, after.mode, after.size) == (before.format, before.mode, before.size)
    if before.format == "JPEG":
        assert after.quantization == before.quantization
        assert len(encoded) < 1.2 * len(LOSSY[case])
        assert after.info.get("progressive") == before.info.get("progressive")


@pytest.mark.parametrize("case", ["png alpha", "png grey alpha", "webp lossless", "png palette transparent"])
def test_alpha_is_kept_inside_the_mask_too(case):
    encoded, _, _ = repaint(LOSSLESS[case])
    before, after = (Image.open(io.BytesIO(data)).convert("RGBA") for data in (LOSSLESS[case], encoded))
    assert np.array_equal(np.asarray(after)[..., 3], np.asarray(before)[..., 3])


@pytest.mark.parametrize("container", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_exif_icc_and_stored_orientation_are_kept(container, orientation):
    data = saved(RGB, container, exif=exif(orientation), icc_profile=PROFILE)
    encoded, _, _ = repaint(data)
    after = Image.open(io.BytesIO(encoded))
    assert after.size == RGB.size
    assert after.getexif()[0x0112] == orientation
    assert after.getexif()[0x010E] == "a description"
    assert after.info["icc_profile"] == PROFILE


@pytest.mark.parametrize(("image_format", "container"), [("png", "PNG"), ("webp", "WEBP")])
def test_chosen_lossless_format_keeps_every_pixel_of_a_jpeg(image_format, container):
    encoded, mask, kind = repaint(LOSSY["jpeg"], image_format)
    assert kind == container
    assert np.array_equal(comparable(encoded)[~mask], comparable(LOSSY["jpeg"])[~mask])


@pytest.mark.parametrize(
    ("case", "image_format"),
    [("png alpha", "jpeg"), ("tiff cmyk", "png"), ("png 16 bit", "webp"), ("jpeg cmyk", "png")],
)
def test_format_that_cannot_hold_the_pixels_says_so(case, image_format):
    with pytest.raises(SampleError, match="cannot hold") as caught:
        repaint({**LOSSLESS, **LOSSY}[case], image_format)
    assert caught.value.stage == "encode"


@pytest.mark.parametrize(
    ("image_format", "max_px", "mode", "advice"),
    [("webp", 16383, "RGB", "png"), ("jpeg", 65500, "L", "png"), ("jpeg", 65500, "CMYK", "source")],
)
def test_format_that_cannot_hold_the_size_says_so_before_the_model_runs(image_format, max_px, mode, advice):
    def strip(length_px: int) -> Photo:
        return Photo(np.zeros((length_px, 1, *{"L": (), "RGB": (3,), "CMYK": (4,)}[mode]), np.uint8), mode, "TIFF")

    assert check_encodable(strip(max_px), image_format) == image_format.upper()
    assert Image.open(io.BytesIO(encode(strip(max_px), strip(max_px).pixels, image_format)[0])).height == max_px
    with pytest.raises(SampleError, match=rf"{max_px} pixels per side.*1x{max_px + 1}; .*image_format={advice}'"):
        check_encodable(strip(max_px + 1), image_format)


def orientation_beyond_16_bits() -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = 70_000
    return tags


COARSE = {"qtables": [[1 << 20] * 64], "subsampling": 0, "optimize": False, "progressive": False}


@pytest.mark.parametrize(
    ("container", "mode", "settings", "kind"),
    [
        ("TIFF", "RGB;16", {"tiffinfo": orientation_beyond_16_bits()}, "EncoderError"),  # it calls itself "error"
        ("JPEG", "RGB", COARSE, "OverflowError"),
        ("PNG", "RGB", {"chunks": [(b"tEXt",)]}, "ValueError"),
    ],
)
def test_whatever_an_encoder_raises_fails_the_sample(container, mode, settings, kind):
    pixels = np.zeros((4, 4, 3), np.uint16 if mode == "RGB;16" else np.uint8)
    with pytest.raises(SampleError, match=f"{container} encoder") as caught:
        encode(Photo(pixels, mode, container, settings), pixels, "source")
    assert (caught.value.stage, caught.value.kind) == ("encode", kind)


def high_bit_depth_png(*extra: bytes) -> bytes:
    """A 2x2 PNG with 16 bits a colour channel, with another chunk by name and content; Pillow cannot write it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    rows = (b"\0" + bytes(range(12))) * 2
    between = [chunk(*extra)] if extra else []
    parts = chunk(b"IHDR", header), *between, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


BAD = {
    "text": (b"hello, I am a text file", "UnreadableImage", "not a supported image .*hello"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "UnreadableImage", "not a supported image"),
    "16 bit ppm": (b"P6 # a comment\n2 1\n65535\n" + bytes(12), "UnsupportedMode", "16 bits"),
    "16 bit grey transparent": (saved(sixteen_bit(), "PNG", transparency=7), "UnsupportedMode", "16 bits"),
    "empty": (b"", "UnreadableImage", "empty"),
    "truncated jpeg": (LOSSY["jpeg"][:-300], "TruncatedImage", "truncated"),
    "truncated png": (LOSSLESS["png rgb"][:-900], "TruncatedImage", "truncated: it ends inside its IDAT chunk"),
    "header only": (LOSSY["jpeg"][:20], "UnreadableImage|BrokenImage|TruncatedImage", "."),
    "16 bit colour transparent": (high_bit_depth_png(b"tRNS", bytes(6)), "UnsupportedMode", "16 bits"),
    "float": (
        saved(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"),
        "UnsupportedMode",
        "floating-point samples .* mode F",
    ),
    "animated": (saved(RGB, "GIF", save_all=True, append_images=[RGB.rotate(90)]), "SeveralFrames", "2 frames"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_error_a_person_understands(case):
    data, kinds, message = BAD[case]
    with pytest.raises(SampleError) as caught:
        decode(data, LIMIT)
    assert caught.value.stage == "decode"
    assert caught.value.kind in kinds.split("|")
    with pytest.raises(SampleError, match=message):
        decode(data, LIMIT)
    assert "0x" not in caught.value.message  # no addresses: the same fault has the same message


def test_pixel_limit_is_checked_before_decoding():
    bomb = saved(Image.new("1", (30_000, 30_000)), "PNG")
    with pytest.raises(SampleError, match=r"30000x30000 is 900000000 pixels, limits.max_pixels=200000000"):
        decode(bomb, 200_000_000)


def test_tiff_keeps_its_description_and_profile():
    data = saved(RGB, "TIFF", tiffinfo={270: "a description", 315: "an artist"}, icc_profile=PROFILE)
    encoded, _, _ = repaint(data)
    after = Image.open(io.BytesIO(encoded))
    assert after.tag_v2[270] == "a description" and after.tag_v2[315] == "an artist"
    assert after.info["icc_profile"] == PROFILE


def test_exif_behind_the_pixels_of_a_png_is_kept():
    data = saved(RGB, "PNG", exif=exif(6))
    start = data.index(b"eXIf") - 4
    length = 12 + struct.unpack(">I", data[start : start + 4])[0]
    end = data.index(b"IEND") - 4
    moved = data[:start] + data[start + length : end] + data[start : start + length] + data[end:]
    encoded, _, _ = repaint(moved)
    assert Image.open(io.BytesIO(encoded)).getexif()[0x0112] == 6


def test_jpeg_of_highest_quality_and_scanned_tiff_are_encoded():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8))
    encoded, _, _ = repaint(saved(noise, "JPEG", quality=100, subsampling=0))
    assert Image.open(io.BytesIO(encoded)).size == (400, 300)
    encoded, _, container = repaint(saved(RGB.convert("1"), "TIFF", compression="group4"))
    assert container == "TIFF" and Image.open(io.BytesIO(encoded)).mode == "L"


def test_gif_needs_another_format_and_says_so():
    data = saved(RGB.quantize(64), "GIF")
    with pytest.raises(SampleError, match=r"set sink\.image_format=source-or-png"):
        repaint(data)
    encoded, mask, _ = repaint(data, "png")
    assert np.array_equal(comparable(encoded)[~mask], comparable(data)[~mask])


@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_keeps_its_kind_of_huffman_tables_and_so_its_size(mode, optimize):
    buffer = io.BytesIO()
    Image.fromarray(textured(200, 300)).convert(mode).save(buffer, "JPEG", quality=90, optimize=optimize)
    photo = decode(buffer.getvalue(), LIMIT)
    assert photo.encoder["optimize"] == optimize
    encoded, _ = encode(photo, photo.pixels, "source")
    assert len(encoded) == pytest.approx(len(buffer.getvalue()), rel=0.03)
