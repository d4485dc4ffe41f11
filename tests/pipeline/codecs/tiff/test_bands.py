"""TIFFs with more bands than colours: kept to the last, or refused with a reason."""

import io
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from moebius.windows import Box
from pipeline.codecs.decode import decode
from pipeline.codecs.encode import check_encodable, encode
from pipeline.errors import SampleError

tifffile = pytest.importorskip("tifffile")  # comes with the extra "evaluate"
LIMIT = 1_000_000
HOLE = Box(4, 3, 20, 15)


def written(bands: int, photometric: str, extra: list[str] | None, dtype: type = np.uint8, **options) -> bytes:
    values = np.random.default_rng(bands).integers(0, np.iinfo(dtype).max, (24, 40, bands), dtype, endpoint=True)
    if options.get("planarconfig") == "separate":
        values = np.ascontiguousarray(np.moveaxis(values, 2, 0))
    file = io.BytesIO()
    tifffile.imwrite(file, values, photometric=photometric, extrasamples=extra, metadata=None, **options)
    return file.getvalue()


def unexplained(data: bytes) -> bytes:
    """A TIFF of one page whose tag of extra samples is gone: its entry is a private one."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        place = file.pages[0].tags[338].offset
    return data[:place] + (64_999).to_bytes(2, "little") + data[place + 2 :]


def repainted(data: bytes, image_format: str = "source") -> tuple[bytes, np.ndarray]:
    photo = decode(data, LIMIT)
    mask = np.zeros(photo.pixels.shape[:2], bool)
    mask[HOLE.slices] = True
    patch = np.full((*mask[HOLE.slices].shape, 3), (250, 5, 120), np.uint8)
    return encode(photo, photo.repaint(patch, mask[HOLE.slices], HOLE), image_format)[0], mask


def page(data: bytes) -> tuple[np.ndarray, tuple[int, ...] | None]:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        values, tag = file.pages[0].asarray(), file.pages[0].tags.get(338)
    bands_first = values.ndim == 3 and values.shape[1:] == (24, 40)
    return np.moveaxis(values, 0, 2) if bands_first else values, tag.value if tag else None


SMALL = {
    "aerial": written(4, "rgb", ["unspecified"]),
    "aerial deflate": written(4, "rgb", ["unspecified"], compression="zlib", predictor=True),
    "aerial lzw tiles": written(4, "rgb", ["unspecified"], compression="lzw", tile=(16, 16)),
    "aerial separate": written(4, "rgb", ["unspecified"], planarconfig="separate", compression="zlib"),
    "aerial big": written(4, "rgb", ["unspecified"], bigtiff=True),
    "aerial other end": written(4, "rgb", ["unspecified"], byteorder=">"),
    "aerial 16": written(4, "rgb", ["unspecified"], np.uint16),
    "aerial 16 separate": written(4, "rgb", ["unspecified"], np.uint16, planarconfig="separate", compression="zlib"),
    "grey": written(2, "minisblack", ["unspecified"]),
    "turned": written(4, "rgb", ["unspecified"], extratags=[(274, 3, 1, 6, True)]),
    "alpha": written(4, "rgb", ["unassalpha"]),
    "alpha multiplied": written(4, "rgb", ["assocalpha"]),
    "alpha multiplied lzw": written(4, "rgb", ["assocalpha"], compression="lzw"),
    "alpha multiplied 16": written(4, "rgb", ["assocalpha"], np.uint16),
    "grey alpha": written(2, "minisblack", ["unassalpha"]),
    "grey alpha multiplied": written(2, "minisblack", ["assocalpha"]),
    "nothing said": unexplained(written(4, "rgb", ["unassalpha"])),
    "nothing said 16": unexplained(written(4, "rgb", ["unassalpha"], np.uint16)),
}


@pytest.mark.parametrize("case", SMALL)
def test_every_band_and_its_meaning_stay(case):
    data = SMALL[case]
    before, meaning = page(data)
    encoded, mask = repainted(data)
    after, same_meaning = page(encoded)
    assert after.shape == before.shape and same_meaning == meaning
    assert np.array_equal(after[~mask], before[~mask])
    assert np.array_equal(after[..., -1], before[..., -1])  # the model paints colours alone
    assert not np.array_equal(after[mask][:, 0], before[mask][:, 0])
    if case == "turned":
        assert Image.open(io.BytesIO(encoded)).tag_v2[274] == 6


@pytest.mark.parametrize("image_format", ["png", "webp", "jpeg"])
@pytest.mark.parametrize("case", ["aerial", "grey"])
def test_band_of_no_meaning_is_left_out_of_other_formats_and_is_no_alpha(case, image_format):
    photo = decode(SMALL[case], LIMIT)
    assert photo.alpha is None
    encoded, _ = repainted(SMALL[case], image_format)
    image = Image.open(io.BytesIO(encoded))
    assert "A" not in image.mode and image.size == (40, 24)


MANY = {
    "colour and two": written(5, "rgb", ["unspecified"] * 2),
    "colour and three": written(6, "rgb", ["unspecified"] * 3),
    "alpha and one": written(5, "rgb", ["unassalpha", "unspecified"]),
    "two and apart": written(5, "rgb", ["unspecified"] * 2, planarconfig="separate", compression="zlib"),
    "spot colour": written(5, "separated", ["unspecified"]),
    "two spot colours": written(6, "separated", ["unspecified"] * 2),
    "spot colour apart": written(5, "separated", ["unspecified"], planarconfig="separate", compression="zlib"),
    "grey of 16 bits and one apart": written(
        2, "minisblack", ["unspecified"], np.uint16, planarconfig="separate", compression="zlib"
    ),
}


@pytest.mark.parametrize("case", MANY)
def test_more_bands_than_can_be_kept_are_refused_with_their_count(case):
    with pytest.raises(SampleError, match="bands") as caught:
        check_encodable(decode(MANY[case], LIMIT), "source")
    assert (caught.value.stage, caught.value.kind) == ("decode", "UnsupportedMode")


@pytest.mark.parametrize("case", ["alpha multiplied", "alpha multiplied 16", "grey alpha multiplied"])
def test_no_filled_colour_is_above_the_alpha_that_it_is_multiplied_by(case):
    encoded, mask = repainted(SMALL[case])
    after, _ = page(encoded)
    assert np.all(after[mask][:, :-1] <= after[mask][:, -1:])
    assert np.any(after[mask][:, 0] < after[mask][:, -1])


@pytest.mark.parametrize("case", ["alpha multiplied", "grey alpha multiplied"])
@pytest.mark.parametrize("image_format", ["png", "webp"])
def test_other_formats_get_colours_divided_by_their_alpha(case, image_format):
    before, _ = page(SMALL[case])
    before[..., :-1] = np.minimum(before[..., :-1], before[..., -1:])
    photo = replace(decode(SMALL[case], LIMIT), pixels=before)
    image = Image.open(io.BytesIO(encode(photo, before, image_format)[0]))
    after = np.asarray(image if image_format == "png" else image.convert("RGBA")).astype(float)
    assert np.array_equal(after[..., -1], before[..., -1])
    visible = before[..., -1] > 0
    assert np.abs(after[..., 0] * after[..., -1] / 255 - before[..., 0])[visible].max() <= 0.5


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits"])
@pytest.mark.parametrize("part", [0.3, 0.9])
def test_cut_or_damaged_bands_fail(compression, part):
    data = written(4, "rgb", ["unspecified"], compression=compression)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        start = file.pages[0].dataoffsets[0]
    with pytest.raises(SampleError) as caught:
        decode(data[: start + int(part * (len(data) - start))], LIMIT)
    assert caught.value.stage == "decode"
    if compression in ("lzw", "zlib"):
        damaged = bytearray(data)
        damaged[start + 200 : start + 240] = b"\xff" * 40
        with pytest.raises(SampleError):
            decode(bytes(damaged), LIMIT)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("tile", [1 << 20, 1 << 31])
def test_tiles_larger_than_any_memory_are_the_fault_of_the_file(tile, dtype):
    data = bytearray(written(4, "rgb", ["unspecified"], dtype, tile=(16, 16)))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        places = [file.pages[0].tags[tag].offset for tag in (322, 323)]
    for place in places:
        data[place + 2 : place + 12] = struct.pack("<HII", 4, 1, tile)
    with pytest.raises(SampleError, match="tiles of") as caught:
        decode(bytes(data), LIMIT)
    assert caught.value.kind == "BrokenImage"
