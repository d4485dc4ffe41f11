"""What stays as it was, as properties: for every format and mode that is taken, at any size, under any mask."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageDraw, PngImagePlugin

from moebius.holes import Box
from pipeline.codec import decode
from pipeline.encoder import FORMAT_MODES, encode
from pipeline.jpeg_segments import metadata_segments
from pipeline.photo import Photo
from pipeline.png_chunks import encode_png, metadata_chunks
from tests.conftest import ROOT, textured

LIMIT = 1_000_000
CHANNELS = {"L": 0, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4, "I;16": 0, "LA;16": 2, "RGB;16": 3, "RGBA;16": 4}
PROFILES = {kind: ImageCms.ImageCmsProfile(ImageCms.createProfile(kind)).tobytes() for kind in ("sRGB", "LAB", "XYZ")}
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a>caf\xc3\xa9</a></x:xmpmeta>'
LOSSLESS = [(container, mode) for container, modes in FORMAT_MODES.items() if container != "JPEG" for mode in modes]
quick = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112], tags[0x010E], tags[0x0110] = orientation, "a description", "a camera"
    tags.get_ifd(0x8769)[0x829A] = (1, 250)
    tags.get_ifd(0x8825)[1] = "N"
    return tags


@st.composite
def pixel_arrays(draw, mode: str) -> np.ndarray:
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    dtype = np.uint16 if mode.endswith("16") else np.uint8
    shape = (height, width, CHANNELS[mode]) if CHANNELS[mode] else (height, width)
    generator = np.random.default_rng(draw(st.integers(0, 1000)))
    if draw(st.booleans()):
        return generator.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    return (np.cumsum(generator.integers(0, 3, shape), axis=1) % (np.iinfo(dtype).max + 1)).astype(dtype)


@st.composite
def masks(draw, shape: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    top, left = draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))
    mask[top : top + draw(st.integers(1, 20)), left : left + draw(st.integers(1, 20))] = True
    return mask


def stored(container: str, mode: str, pixels: np.ndarray, **options) -> bytes:
    """A file as another program than ours writes it, where Pillow or imagecodecs can."""
    if pixels.dtype == np.uint16 and container == "PNG":
        return imagecodecs.png_encode(pixels)
    if pixels.dtype == np.uint16 and mode != "I;16":
        return imagecodecs.tiff_encode(
            pixels, photometric="rgb", extrasample="unassalpha" if mode == "RGBA;16" else None
        )
    file = io.BytesIO()
    lossless = {"lossless": True, "exact": True} if container == "WEBP" else {}
    image = Image.fromarray(pixels, mode) if mode == "CMYK" else Image.fromarray(pixels)
    image.save(file, container, **lossless, **options)
    return file.getvalue()


def repainted(photo: Photo, mask: np.ndarray, colour: tuple[int, int, int] = (250, 5, 120)) -> np.ndarray:
    hole = Box.around(mask).slices
    patch = photo.rgb()[hole].copy()
    patch[mask[hole]] = colour
    return photo.repaint(patch, mask[hole], Box.around(mask))


@pytest.mark.parametrize(("container", "mode"), LOSSLESS)
@quick
@given(data=st.data())
def test_every_value_outside_the_mask_and_all_alpha_stay(container, mode, data):
    pixels = data.draw(pixel_arrays(mode))
    mask = data.draw(masks(pixels.shape[:2]))
    photo = decode(stored(container, mode, pixels), LIMIT)
    if (container, mode) != ("WEBP", "L") and (container, mode) != ("WEBP", "LA"):  # stored as colour
        assert photo.mode == mode and np.array_equal(photo.pixels, pixels)
    encoded, kind = encode(photo, repainted(photo, mask), "source")
    after = decode(encoded, LIMIT)
    assert kind == container and after.mode == photo.mode and after.pixels.shape == photo.pixels.shape
    assert np.array_equal(after.pixels[~mask], photo.pixels[~mask])
    if photo.alpha is not None:
        assert np.array_equal(after.alpha, photo.alpha)


@pytest.mark.parametrize("mode", FORMAT_MODES["PNG"])
@quick
@given(data=st.data())
def test_other_readers_see_the_pixels_of_our_png(mode, data):
    pixels = data.draw(pixel_arrays(mode))
    encoded = encode_png(pixels, [])
    assert np.array_equal(imagecodecs.png_decode(encoded).reshape(pixels.shape), pixels)
    if not mode.endswith("A;16") and mode != "RGB;16":
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(encoded))), pixels)


@pytest.mark.parametrize("mode", ["RGB;16", "RGBA;16"])
@pytest.mark.parametrize("compression", [None, "deflate", "lzw"])
def test_deep_tiff_is_read_by_others_with_its_tags(mode, compression):
    pixels = np.random.default_rng(0).integers(0, 65536, (30, 20, CHANNELS[mode]), np.uint16)
    photo = decode(
        imagecodecs.tiff_encode(
            pixels, photometric="rgb", compression=compression, description="a description", iccprofile=PROFILES["sRGB"]
        ),
        LIMIT,
    )
    mask = np.zeros((30, 20), bool)
    mask[3:9, 2:5] = True
    encoded, _ = encode(photo, repainted(photo, mask, (255, 0, 128)), "source")
    after = imagecodecs.tiff_decode(encoded)
    assert np.array_equal(after[~mask], pixels[~mask])
    assert set(map(tuple, after[mask][:, :3])) == {(65535, 0, 128 * 257)}
    image = Image.open(io.BytesIO(encoded))
    assert image.tag_v2[270] == "a description" and image.info["icc_profile"] == PROFILES["sRGB"]


@pytest.mark.parametrize("container", ["JPEG", "PNG", "WEBP", "TIFF"])
@settings(parent=quick, max_examples=20)
@given(
    orientation=st.integers(1, 8),
    profile=st.sampled_from(sorted(PROFILES)),
    chosen=st.sampled_from(["source", "png", "webp"]),
)
def test_exif_profile_xmp_and_size_stay(container, orientation, profile, chosen):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    xmp = {"xmp": XMP}
    if container == "TIFF":
        tags = exif(orientation)
        tags[700] = XMP
        xmp = {"exif": tags.tobytes()}
    elif container == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", XMP.decode())
        xmp = {"pnginfo": text}
    given_exif = {} if container == "TIFF" else {"exif": exif(orientation).tobytes()}
    data = stored(container, "RGB", pixels, icc_profile=PROFILES[profile], **given_exif, **xmp)
    photo = decode(data, LIMIT)
    mask = np.zeros((24, 40), bool)
    mask[2:5, 2:9] = True
    encoded, kind = encode(photo, repainted(photo, mask), chosen)
    before, after = (Image.open(io.BytesIO(file)) for file in (data, encoded))
    assert photo.pixels.shape == (24, 40, 3)  # as it is stored, whatever the orientation
    assert decode(encoded, LIMIT).pixels.shape == (24, 40, 3)
    assert after.info["icc_profile"] == before.info["icc_profile"] == PROFILES[profile]
    if container == "TIFF" and kind != "TIFF":
        return
    assert dict(after.getexif()).keys() >= {0x0112, 0x010E, 0x0110}
    assert after.getexif()[0x0112] == orientation and after.getexif()[0x0110] == "a camera"
    for group in (0x8769, 0x8825):
        assert dict(after.getexif().get_ifd(group)) == dict(before.getexif().get_ifd(group)) != {}
    assert after.info["xmp"] == before.info["xmp"]


def test_jpeg_keeps_metadata_to_the_byte_and_leaves_what_would_be_wrong():
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    Image.fromarray(pixels).save(file, "JPEG", exif=exif(6).tobytes(), xmp=XMP, comment=b"a comment")
    data = file.getvalue()
    extra = b"".join(
        b"\xff" + marker + struct.pack(">H", 2 + len(content)) + content
        for marker, content in ((b"\xed", b"Photoshop 3.0\0iptc"), (b"\xe2", b"MPF\0pictures"), (b"\xeb", b"signature"))
    )
    data = data[:2] + extra + data[2:]
    photo = decode(data, LIMIT)
    encoded, _ = encode(photo, photo.pixels, "source")
    kept = metadata_segments(encoded)
    assert kept == metadata_segments(data)
    assert all(part in kept for part in (b"a comment", b"iptc", XMP, b"a camera"))
    assert b"pictures" not in encoded and b"signature" not in encoded


def test_png_keeps_text_gamma_and_resolution():
    file, text = io.BytesIO(), PngImagePlugin.PngInfo()
    text.add_text("Author", "somebody")
    text.add_text("Comment", "a comment " * 50, zip=True)
    text.add_itxt("Title", "café", "fr", "Titre")
    text.add(b"gAMA", struct.pack(">I", 45455))
    Image.new("RGB", (9, 9)).save(file, "PNG", pnginfo=text, dpi=(300, 300))
    photo = decode(file.getvalue(), LIMIT)
    encoded, _ = encode(photo, photo.pixels, "source")
    assert metadata_chunks(encoded) == metadata_chunks(file.getvalue())
    after = Image.open(io.BytesIO(encoded))
    assert after.info["Title"] == "café" and after.info["gamma"] == pytest.approx(0.45455)


@pytest.mark.parametrize("quality", [30, 60, 80, 95])
def test_lossy_webp_is_encoded_about_as_well_as_it_was(quality):
    file = io.BytesIO()
    Image.fromarray(textured(240, 320)).save(file, "WEBP", quality=quality)
    photo = decode(file.getvalue(), LIMIT)
    assert photo.encoder["quality"] == pytest.approx(quality, abs=12)
    encoded, _ = encode(photo, photo.pixels, "source")
    assert 0.8 < len(encoded) / len(file.getvalue()) < 1.1


def test_png_is_not_larger_than_that_of_pillow():
    image = Image.open(ROOT / "tests" / "photos" / "images" / "chelsea.png")
    flat = Image.new("RGBA", (400, 300), "white")
    ImageDraw.Draw(flat).ellipse((50, 50, 250, 200), fill=(10, 200, 30, 90))
    for picture in (image, image.convert("L"), flat):
        file = io.BytesIO()
        picture.save(file, "PNG")
        assert len(encode_png(np.asarray(picture), [])) < 1.06 * len(file.getvalue()) + 200
