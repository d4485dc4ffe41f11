"""Components of JPEG files keep their tables, however these are numbered, and their colours, whatever these are."""

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from pipeline.codecs.decode import decode
from pipeline.codecs.encode import encode
from pipeline.codecs.jpeg.settings import samples_per_pixel
from pipeline.codecs.jpeg_markers import header_segments
from tests.conftest import textured

LIMIT = 1_000_000
PIXELS = textured(64, 96)
TABLES, FRAMES, ADOBE = 0xDB, (0xC0, 0xC1, 0xC2), 0xEE


def saved(mode: str = "RGB", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def renumbered(jpeg: bytes, numbers: dict[int, int]) -> bytes:
    """A JPEG whose quantisation tables have other numbers; libjpeg writes one a segment."""
    data = bytearray(jpeg)
    for marker, start, end in header_segments(jpeg):
        if marker == TABLES:
            data[start + 4] = numbers[data[start + 4]]
        if marker in FRAMES:
            for position in range(start + 12, end, 3):
                data[position] = numbers[data[position]]
    return bytes(data)


def encoded_again(data: bytes) -> bytes:
    photo = decode(data, LIMIT)
    return encode(photo, photo.pixels, "source")[0]


def tables_by_component(data: bytes) -> list[list[int]]:
    image = Image.open(io.BytesIO(data))
    return [image.quantization[number] for _, _, _, number in image.layer]


def psnr(before: np.ndarray, after: np.ndarray) -> float:
    return 10 * np.log10(255**2 / max(np.square(before.astype(float) - after).mean(), 1e-9))


def without_adobe(data: bytes) -> bytes:
    start, end = next((start, end) for marker, start, end in header_segments(data) if marker == ADOBE)
    return data[:start] + data[end:]


@pytest.mark.parametrize("numbers", [{0: 0, 1: 1}, {0: 1, 1: 0}, {0: 2, 1: 3}, {0: 3, 1: 1}, {0: 0, 1: 2}])
@pytest.mark.parametrize("progressive", [False, True])
def test_tables_stay_with_their_components_whatever_their_numbers(numbers, progressive):
    data = renumbered(saved(quality=60, progressive=progressive), numbers)
    again = encoded_again(data)
    assert tables_by_component(again) == tables_by_component(data)
    assert tables_by_component(data)[0] != tables_by_component(data)[1]
    assert np.array_equal(imagecodecs.jpeg8_decode(data), decode(data, LIMIT).pixels)


@pytest.mark.parametrize(
    ("mode", "values"), [("L", [9]), ("RGB", [2, 10, 30]), ("RGB", [300, 400]), ("CMYK", [2, 9, 9, 5])]
)
def test_any_count_of_tables_is_kept(mode, values):
    data = saved(mode, qtables=[[value] * 64 for value in values], subsampling=0)
    assert tables_by_component(encoded_again(data)) == tables_by_component(data)
    assert [table[0] for table in tables_by_component(data)][: len(values)] == values


@pytest.mark.parametrize("adobe", [True, False])
@pytest.mark.parametrize("quality", [75, 95])
def test_rgb_components_stay_rgb_and_lose_little(quality, adobe):
    data = saved(quality=quality, keep_rgb=True)
    data = data if adobe else without_adobe(data)  # the letters of the components say it then
    again = encoded_again(data)
    before, after = imagecodecs.jpeg8_decode(data), imagecodecs.jpeg8_decode(again)
    assert psnr(before, after) > 50
    assert [identifier for identifier, *_ in Image.open(io.BytesIO(again)).layer] == [ord(letter) for letter in "RGB"]


@pytest.mark.parametrize("adobe", [True, False])
def test_cmyk_is_as_it_looks_and_so_it_stays_to_other_readers(adobe):
    data = saved("CMYK", quality=95)
    data = data if adobe else without_adobe(data)
    again = encoded_again(data)
    assert [(b"Adobe" in file) for file in (data, again)] == [adobe] * 2
    stored, stored_again = (imagecodecs.jpeg8_decode(file, outcolorspace="CMYK") for file in (data, again))
    assert psnr(stored, stored_again) > 45
    inks = decode(data, LIMIT).pixels
    assert np.array_equal(inks, ~stored if adobe else stored)


def test_ycck_is_written_with_the_tables_of_luminance():
    data = bytearray(saved("CMYK", qtables=[[2] * 64, [40] * 64, [40] * 64, [2] * 64]))
    position = data.index(b"Adobe") + 11
    assert data[position] == 0
    data[position] = 2
    assert [table[0] for table in tables_by_component(encoded_again(bytes(data)))] == [2] * 4


@pytest.mark.parametrize(("options", "samples"), [({"subsampling": 0}, 3), ({"subsampling": 2}, 1.5)], ids=str)
def test_samples_per_pixel_are_those_of_the_header(options, samples):
    assert samples_per_pixel(Image.open(io.BytesIO(saved(**options)))) == samples
    assert samples_per_pixel(Image.fromarray(PIXELS)) == 0
