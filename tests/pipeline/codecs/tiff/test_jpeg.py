"""JPEG inside TIFF is stored as well as it was, and maps still know where they lie."""

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from pipeline.codecs.decode import decode
from pipeline.codecs.encode import encode
from tests.conftest import textured

tifffile = pytest.importorskip("tifffile")  # comes with the extra "evaluate"
LIMIT = 1_000_000
PIXELS = textured(120, 160)
YCBCR = np.asarray(Image.fromarray(PIXELS).convert("YCbCr"))


def by_pillow(mode: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(file, "TIFF", **options)
    return file.getvalue()


def by_tifffile(values: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, metadata=None, **options)
    return file.getvalue()


def encoded_again(data: bytes) -> bytes:
    photo = decode(data, LIMIT)
    return encode(photo, photo.pixels, "source")[0]


def psnr(before: np.ndarray, after: np.ndarray) -> float:
    return 10 * np.log10(255**2 / max(np.square(before.astype(float) - after).mean(), 1e-9))


ARGS = {"compression": "jpeg", "compressionargs": {"level": 95}}
LIBTIFF = {"compression": "jpeg", "level": 95}
COLOUR = {
    "strips of libtiff": (by_pillow("RGB", compression="jpeg", quality=95), 50, 2),
    "low quality": (by_pillow("RGB", compression="jpeg", quality=40), 45, 2),
    "one strip": (by_tifffile(PIXELS, photometric="rgb", **ARGS), 38, 6),
    "tiles": (by_tifffile(YCBCR, photometric="ycbcr", tile=(48, 64), subsampling=(1, 1), **ARGS), 45, 6),
    "half of colour": (by_tifffile(YCBCR, photometric="ycbcr", rowsperstrip=32, subsampling=(2, 1), **ARGS), 38, 6),
    "each band by itself": (
        imagecodecs.tiff_encode(
            PIXELS.transpose(2, 0, 1).copy(), planarconfig="separate", photometric="rgb", **LIBTIFF
        ),
        45,
        2,
    ),
}


@pytest.mark.parametrize("case", COLOUR)
def test_quality_and_colours_stay(case):
    data, least, photometric = COLOUR[case]
    again = encoded_again(data)
    before, after = (tifffile.TiffFile(io.BytesIO(file)).pages[0] for file in (data, again))
    assert after.compression == before.compression == 7
    assert before.photometric == photometric if case != "one strip" else before.photometric in (2, 6)
    assert after.photometric == before.photometric
    seen, seen_again = decode(data, LIMIT).pixels, decode(again, LIMIT).pixels
    assert psnr(seen, seen_again) > least
    assert len(again) < 1.1 * len(data)
    assert psnr(after.asarray(), seen_again) > 40
    assert psnr(imagecodecs.tiff_decode(again, asrgb=True)[..., :3], seen_again) > 40


@pytest.mark.parametrize(("mode", "least"), [("L", 50), ("CMYK", 50)])
def test_grey_and_inks_stay(mode, least):
    data = by_pillow(mode, compression="jpeg", quality=95)
    again = encoded_again(data)
    after = tifffile.TiffFile(io.BytesIO(again)).pages[0]
    assert after.compression == 7
    assert psnr(decode(data, LIMIT).pixels, after.asarray()) > least
    assert psnr(decode(data, LIMIT).pixels, decode(again, LIMIT).pixels) > least


def test_jpeg_with_a_fourth_band_loses_nothing():
    alpha = np.dstack([PIXELS, PIXELS[..., 0]])
    for data in (
        imagecodecs.tiff_encode(alpha, photometric="rgb", extrasample="unassalpha", **LIBTIFF),
        imagecodecs.tiff_encode(alpha, photometric="rgb", extrasample="unspecified", **LIBTIFF),
    ):
        again = encoded_again(data)
        assert np.array_equal(decode(data, LIMIT).pixels, decode(again, LIMIT).pixels)
        assert tifffile.TiffFile(io.BytesIO(again)).pages[0].compression == 8


def test_jpeg_with_tables_that_cannot_be_read_loses_nothing():
    data = by_pillow("L", compression="jpeg", quality=95)
    photo = decode(data, LIMIT)
    photo.encoder["jpeg"].clear()
    again = encode(photo, photo.pixels, "source")[0]
    assert np.array_equal(tifffile.imread(io.BytesIO(again)), photo.pixels)


PLACE = [
    (33550, 12, 3, (0.5, 0.25, 0.0)),
    (33922, 12, 6, (0.0, 0.0, 0.0, 5e5, 4.2e6, 0.0)),
    (34264, 12, 16, tuple(float(number) for number in range(16))),
    (34735, 3, 8, (1, 1, 0, 1, 1024, 0, 1, 1)),
    (34736, 12, 2, (6378137.0, 298.25)),
    (34737, 2, 0, "WGS 84 / UTM zone 33N|WGS 84|"),
    (42112, 2, 0, '<GDALMetadata><Item name="a">b</Item></GDALMetadata>'),
    (42113, 2, 0, "-9999"),
]


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "jpeg"])
@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize("options", [{}, {"tile": (32, 32), "bigtiff": True}, {"byteorder": ">"}])
def test_map_knows_where_it_lies(compression, bands, options):
    if compression == "jpeg" and bands == 4:
        pytest.skip("tifffile writes none")
    values = PIXELS[..., 0] if bands == 1 else np.dstack([PIXELS, PIXELS[..., :1]])[..., :bands]
    kind = {1: {"photometric": "minisblack"}, 3: {"photometric": "rgb"}}
    kind[4] = {"photometric": "rgb", "extrasamples": ["unspecified"]}
    tags = [(*tag, True) for tag in PLACE]
    data = by_tifffile(values, compression=compression, extratags=tags, **kind[bands], **options)
    tags_of = [tifffile.TiffFile(io.BytesIO(file)).pages[0].tags for file in (data, encoded_again(data))]
    for code, kind_of_tag, *_ in PLACE:
        before, after = (tags[code] for tags in tags_of)
        assert after.value == before.value and after.dtype == kind_of_tag
