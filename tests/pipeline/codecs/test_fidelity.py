"""What stays as it was, as properties: for every format and mode that is taken, at any size, under any mask."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
import simplejpeg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageDraw, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from moebius.windows import Box
from pipeline.codecs.decode import decode
from pipeline.codecs.encode import FORMAT_MODES, encode
from pipeline.codecs.jpeg.segments import metadata_segments
from pipeline.codecs.photo import Photo
from pipeline.codecs.png.chunks import encode_png, metadata_chunks
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
    chosen=st.sampled_from(["source", "png", "webp", "jpeg"]),
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
    encoded, _ = encode(photo, repainted(photo, mask), chosen)
    before, after = (Image.open(io.BytesIO(file)) for file in (data, encoded))
    assert photo.pixels.shape == (24, 40, 3)  # as it is stored, whatever the orientation
    assert decode(encoded, LIMIT).pixels.shape == (24, 40, 3)
    assert after.info["icc_profile"] == before.info["icc_profile"] == PROFILES[profile]
    assert dict(after.getexif()).keys() >= {0x0112, 0x010E, 0x0110}
    assert after.getexif()[0x0112] == orientation and after.getexif()[0x0110] == "a camera"
    for group in (0x8769, 0x8825):
        assert dict(after.getexif().get_ifd(group)) == dict(before.getexif().get_ifd(group)) != {}
    assert after.info["xmp"] == before.info["xmp"]


@pytest.mark.parametrize("extra", ["assocalpha", "unassalpha", "unspecified"])
def test_deep_tiff_keeps_what_its_fourth_channel_means(extra):
    pixels = np.random.default_rng(0).integers(0, 65536, (30, 20, 4), np.uint16)
    pixels[..., :3] = pixels[..., :3].astype(np.uint32) * pixels[..., 3:] // 65535  # no colour above its alpha
    data = imagecodecs.tiff_encode(pixels, photometric="rgb", extrasample=extra)
    photo = decode(data, LIMIT)
    encoded, _ = encode(photo, photo.pixels, "source")
    assert np.array_equal(imagecodecs.tiff_decode(encoded), pixels)
    assert [Image.open(io.BytesIO(file)).tag_v2[338] for file in (data, encoded)].count(
        ({"unspecified": 0, "assocalpha": 1, "unassalpha": 2}[extra],)
    ) == 2
    png = imagecodecs.png_decode(encode(photo, photo.pixels, "png")[0])
    if extra == "assocalpha":  # as it was once multiplied by alpha
        png[..., :3] = np.rint(png[..., :3].astype(np.float64) * png[..., 3:] / 65535)
    assert np.array_equal(png, pixels[..., :3] if extra == "unspecified" else pixels)


@pytest.mark.parametrize("compression", [None, "tiff_deflate"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_tiff_of_16_bits_with_white_as_zero_is_no_negative(compression, orientation):
    stored_values = np.random.default_rng(0).integers(0, 65536, (30, 20), np.uint16)
    tags = {262: 0, 274: orientation}
    data = stored("TIFF", "I;16", stored_values, tiffinfo=tags, compression=compression)
    photo = decode(data, LIMIT)
    assert np.array_equal(photo.pixels, 65535 - stored_values)
    mask = np.zeros((30, 20), bool)
    mask[3:9, 2:5] = True
    encoded, _ = encode(photo, repainted(photo, mask), "source")
    assert Image.open(io.BytesIO(encoded)).tag_v2[262] == 1
    assert np.array_equal(imagecodecs.tiff_decode(encoded)[~mask], 65535 - stored_values[~mask])


def test_tiff_of_12_bits_has_its_full_scale():
    data = stored("TIFF", "I;16", np.frombuffer(b"\xff\xf8\x00\x00", np.uint16).reshape(1, 2))  # 4095, 2048
    data = data.replace(struct.pack("<HHIH", 258, 3, 1, 16), struct.pack("<HHIH", 258, 3, 1, 12))
    assert decode(data, LIMIT).pixels.tolist() == [[65535, 0x8008]]


@pytest.mark.parametrize("mode", FORMAT_MODES["TIFF"])
def test_compressed_tiff_with_exif_is_encoded(mode):
    shape = (24, 40, CHANNELS[mode]) if CHANNELS[mode] else (24, 40)
    largest, dtype = (65535, np.uint16) if mode.endswith("16") else (255, np.uint8)
    pixels = np.random.default_rng(0).integers(0, largest, shape, dtype, endpoint=True)
    tags = exif(6)
    tags[0x8769] = tags[0x8825] = 0  # of the file that it came in
    photo = Photo(pixels, mode, "TIFF", {"compression": "tiff_lzw", "tiffinfo": tags, "icc_profile": PROFILES["sRGB"]})
    encoded, _ = encode(photo, pixels, "source")
    after = Image.open(io.BytesIO(encoded))
    assert len(encoded) < pixels.nbytes + 10_000 and after.info["compression"] == "tiff_adobe_deflate"
    assert after.getexif()[0x0112] == 6 and after.info["icc_profile"] == PROFILES["sRGB"]
    for group in (0x8769, 0x8825):
        assert dict(after.getexif().get_ifd(group)) == tags.get_ifd(group) != {}
    again = decode(encoded, LIMIT)
    assert again.mode == mode and np.array_equal(again.pixels, pixels)
    if mode != "CMYK":  # which libtiff is asked for as RGB
        assert np.array_equal(imagecodecs.tiff_decode(encoded), pixels)


@pytest.mark.parametrize("compression", [None, "tiff_deflate"])
@pytest.mark.parametrize("chosen", ["source", "png", "webp", "jpeg"])
def test_tags_of_a_tiff_keep_their_letters_and_those_of_its_layout_or_of_nonsense_stay_behind(compression, chosen):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[33432] = "© café".encode()
    tags.tagtype[305], tags[305] = 2, "a program"
    if not compression:  # libtiff writes no nonsense
        tags.tagtype[274], tags[274] = 2, "six"
    data = stored("TIFF", "RGB", np.zeros((24, 40, 3), np.uint8), tiffinfo=tags, compression=compression)
    photo = decode(data, LIMIT)
    encoded, kind = encode(photo, photo.pixels, chosen)
    after = Image.open(io.BytesIO(encoded)).getexif()
    assert after[33432].encode("latin-1") == "© café".encode() and after[305] == "a program"
    assert kind == "TIFF" or set(after) == {33432, 305}
    assert 274 not in after


def test_metadata_too_long_for_a_jpeg_is_left_out_but_for_the_orientation():
    tags = exif(6)
    tags[270], tags[700] = "long " * 20_000, b"<x/>" * 20_000
    photo = decode(stored("TIFF", "RGB", np.zeros((24, 40, 3), np.uint8), exif=tags.tobytes()), LIMIT)
    jpeg, png = (Image.open(io.BytesIO(encode(photo, photo.pixels, chosen)[0])) for chosen in ("jpeg", "png"))
    assert dict(jpeg.getexif()) == {274: 6} and "xmp" not in jpeg.info
    assert png.getexif()[274] == 6 and len(png.getexif()[270]) == 100_000 and len(png.info["xmp"]) == 80_000


@pytest.mark.parametrize("chosen", ["source", "png", "webp", "jpeg"])
@pytest.mark.parametrize("compression", [None, "tiff_deflate"])
@pytest.mark.parametrize("resolution", [(0, 0), (1, 0), (0, 5), (1, 1000), (70_000, 1), (2**32 - 1, 1), (300, 1), None])
def test_resolution_that_a_format_cannot_say_is_left_out(resolution, compression, chosen):
    pixels = np.zeros((24, 40, 3), np.uint8)
    told = {} if resolution is None else {"tiffinfo": {282: 12345, 283: 12345, 296: 2}}
    data = stored("TIFF", "RGB", pixels, compression=compression, **told)
    if resolution:
        assert data.count(struct.pack("<II", 12345, 1)) == 2
        data = data.replace(struct.pack("<II", 12345, 1), struct.pack("<II", *resolution))
    photo = decode(data, LIMIT)
    encoded, kind = encode(photo, photo.pixels, chosen)
    after = Image.open(io.BytesIO(encoded))
    if kind == "TIFF":
        assert (282 in after.tag_v2) == (resolution not in (None, (0, 0), (1, 0)))
    elif kind != "WEBP":
        holds = resolution == (300, 1) or (resolution == (70_000, 1) and kind == "PNG")
        dpi = after.info.get("dpi")
        assert dpi == pytest.approx((resolution[0],) * 2, rel=1e-4) if holds else dpi is None


@pytest.mark.parametrize(
    ("subsampling", "kept"), [("444", 0), ("422", 1), ("420", 2), ("440", 0), ("411", 0), ("Gray", -1)]
)
@pytest.mark.parametrize("chosen", ["source", "jpeg"])
def test_jpeg_keeps_tables_and_subsampling_or_gets_none(subsampling, kept, chosen):
    pixels, colours = textured(40, 64), "RGB"
    if subsampling == "Gray":
        pixels, colours = np.ascontiguousarray(pixels[..., :1]), "GRAY"
    data = simplejpeg.encode_jpeg(pixels, 83, colours, subsampling)
    photo = decode(data, LIMIT)
    before, after = (Image.open(io.BytesIO(file)) for file in (data, encode(photo, photo.pixels, chosen)[0]))
    assert JpegImagePlugin.get_sampling(after) == kept
    assert after.quantization == before.quantization


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
