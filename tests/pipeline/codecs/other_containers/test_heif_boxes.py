"""AVIF and HEIC: 8 bits in colours that other formats keep are taken, anything else is refused with its reason."""

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from pipeline.codecs.decode import decode
from pipeline.codecs.encode import check_encodable, encode
from pipeline.codecs.other_containers.heif_boxes import read_main_picture
from pipeline.errors import SampleError
from tests.conftest import textured

LIMIT = 1_000_000
PIXELS = textured(48, 64)
PHOTO = Image.fromarray(PIXELS)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def saved(container: str, mode: str = "RGB", **options) -> bytes:
    file = io.BytesIO()
    image = PHOTO.convert(mode)
    if mode == "RGBA":
        image.putalpha(PHOTO.convert("L"))
    image.save(file, container, **options)
    return file.getvalue()


def avif(bits: int = 8, primaries: int = 1, transfer: int = 13) -> bytes:
    pixels = PIXELS if bits == 8 else PIXELS.astype(np.uint16) << (bits - 8)
    return imagecodecs.avif_encode(pixels, bitspersample=bits, level=90, primaries=primaries, transfer=transfer)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_avif_of_8_bits_is_taken_and_kept_as_png(mode):
    data = saved("AVIF", mode)
    photo = decode(data, LIMIT)
    assert (photo.format, photo.mode) == ("AVIF", mode)
    assert np.array_equal(photo.pixels, np.asarray(Image.open(io.BytesIO(data))))
    encoded, container = encode(photo, photo.pixels, "png")
    assert container == "PNG" and np.array_equal(np.asarray(Image.open(io.BytesIO(encoded))), photo.pixels)
    with pytest.raises(SampleError, match=r"set sink\.image_format=source-or-png"):
        check_encodable(photo, "source")


def test_orientation_and_profile_of_an_avif_are_kept_and_turn_no_pixel():
    tags = Image.Exif()
    tags[0x0112] = 6
    photo = decode(saved("AVIF", exif=tags.tobytes(), icc_profile=PROFILE), LIMIT)
    assert photo.pixels.shape == (48, 64, 3)
    result = Image.open(io.BytesIO(encode(photo, photo.pixels, "png")[0]))
    assert result.getexif()[0x0112] == 6 and result.info["icc_profile"] == PROFILE


@pytest.mark.parametrize("bits", [10, 12])
def test_depth_that_pillow_would_cut_is_refused(bits):
    assert read_main_picture(avif(bits)).bits == bits
    with pytest.raises(SampleError, match="AVIF of more than 8 bits"):
        decode(avif(bits), LIMIT)


@pytest.mark.parametrize(("primaries", "transfer"), [(9, 16), (9, 18), (12, 13)])
def test_colours_that_numbers_alone_tell_are_refused(primaries, transfer):
    assert read_main_picture(avif(8, primaries, transfer)).colours == (primaries, transfer)
    with pytest.raises(SampleError, match="colours other than sRGB that only numbers describe"):
        decode(avif(8, primaries, transfer), LIMIT)
    assert decode(avif(), LIMIT).mode == "RGB"


def test_cut_avif_fails():
    data = saved("AVIF")
    for end in range(40, len(data), 61):
        with pytest.raises(SampleError):
            decode(data[:end], LIMIT)


def test_animated_avif_fails():
    with pytest.raises(SampleError, match="2 frames"):
        decode(saved("AVIF", save_all=True, append_images=[PHOTO.rotate(90)]), LIMIT)


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(60)


def test_heic_is_named_whether_it_can_be_read_or_not():
    with pytest.raises(SampleError, match=r"HEI[CF]") as caught:
        decode(HEIC, LIMIT)
    assert caught.value.kind == "UnreadableImage"


def test_heic_of_8_bits_is_taken_where_the_extra_is_installed():
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    data = saved("HEIF", icc_profile=PROFILE)
    photo = decode(data, LIMIT)
    assert (photo.format, photo.mode) == ("HEIF", "RGB")
    assert np.array_equal(photo.pixels, np.asarray(Image.open(io.BytesIO(data))))
    assert encode(photo, photo.pixels, "png")[1] == "PNG"
    deep = io.BytesIO()
    pillow_heif.encode("RGB;16", PHOTO.size, (PIXELS.astype("<u2") << 8).tobytes(), deep)
    with pytest.raises(SampleError, match="of more than 8 bits"):
        decode(deep.getvalue(), LIMIT)
    for end in range(40, len(data), 97):
        with pytest.raises(SampleError):
            decode(data[:end], LIMIT)
