"""Filled JPEGs keep the coefficients of blocks that the hole does not touch, in every kind of file."""

import io
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import simplejpeg
from PIL import Image
from scipy.ndimage import binary_dilation

from pipeline.codecs.decode import decode
from pipeline.codecs.encode import encode, encode_filled
from pipeline.codecs.jpeg.coefficients import read_coefficients
from pipeline.codecs.jpeg.entropy import shortest_code
from pipeline.codecs.jpeg.scans import read_picture
from pipeline.codecs.jpeg_markers import header_segments
from pipeline.config.job import JobConfig, MaskConfig
from pipeline.records import FAILED, Record
from pipeline.sources.inputs import Inputs
from pipeline.worker.sample import finish, prepare
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
HEIGHT, WIDTH = 93, 118  # no multiples of a unit
MAX_PIXELS = 10**6
FILES = ROOT / "tests/files"
TAGS = Image.Exif()
TAGS[0x010E], TAGS[0x0112] = "a wall", 6


def picture(mode: str = "RGB", size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """Smooth colours with noise and an edge, some of it beyond white."""
    width, height = size
    y, x = np.mgrid[:height, :width].astype(np.float32)
    bands = [120 + 90 * np.sin(x / (9 + 4 * band) + band) * np.cos(y / 13) for band in range(4)]
    pixels = np.stack(bands, axis=2) + np.random.default_rng(0).normal(0, 9, (height, width, 4))
    pixels[:, width // 2 :] += 70
    pixels = pixels.clip(0, 255).astype(np.uint8)
    return Image.fromarray({"L": pixels[..., 0], "RGB": pixels[..., :3], "CMYK": pixels}[mode], mode)


def saved(mode: str = "RGB", size: tuple[int, int] = (WIDTH, HEIGHT), **settings) -> bytes:
    file = io.BytesIO()
    picture(mode, size).save(file, "JPEG", **({"quality": 80} | settings))
    return file.getvalue()


def sampled(kind: str) -> bytes:
    return simplejpeg.encode_jpeg(np.ascontiguousarray(picture()), 80, colorsubsampling=kind)


def in_scans(data: bytes, *headers: str) -> bytes:
    """The same coefficients in other scans."""
    found = read_coefficients(data)
    found.scans[:] = [bytes.fromhex(header) for header in headers]
    head = data[: next(start for marker, start, _ in header_segments(data) if marker == 0xDB)]
    return found.write(head)


def ycck() -> bytes:
    """Colours as in a YCbCr file, with black behind them."""
    data = saved("CMYK", subsampling=0)
    at = data.index(b"Adobe") + 11
    return data[:at] + b"\2" + data[at + 1 :]


def first_restart(data: bytes) -> bytes:
    assert b"\xff\xd0" in data
    return data


KINDS = {
    "baseline 4:2:0": lambda: saved(subsampling=2),
    "4:2:2": lambda: saved(subsampling=1),
    "4:4:4": lambda: saved(subsampling=0),
    "4:4:0": lambda: sampled("440"),
    "4:1:1": lambda: sampled("411"),
    "3×1": lambda: (FILES / "sampled_3x1.jpg").read_bytes(),
    "progressive 4:2:0": lambda: saved(progressive=True, subsampling=2),
    "progressive 4:4:4, fine": lambda: saved(progressive=True, subsampling=0, quality=98),
    "progressive grey": lambda: saved("L", progressive=True),
    "progressive cmyk": lambda: saved("CMYK", progressive=True),
    "optimized": lambda: saved(optimize=True),
    "grey": lambda: saved("L"),
    "rgb": lambda: saved(keep_rgb=True),
    "cmyk": lambda: saved("CMYK"),
    "cmyk without adobe": lambda: saved("CMYK").replace(b"\xff\xee\x00\x0eAdobe", b"\xff\xee\x00\x0eOther"),
    "ycck": ycck,
    "restart markers": lambda: first_restart(saved(restart_marker_blocks=3)),
    "progressive with restart markers": lambda: first_restart(saved(restart_marker_blocks=5, progressive=True)),
    "a scan per component": lambda: in_scans(saved(), "010100003f00", "010211003f00", "010311003f00"),
    "spectral selection only": lambda: in_scans(
        saved(progressive=True), "03010002110311000000", "010311013f00", "010211013f00", "010100013f00"
    ),
    "quality 100": lambda: saved(quality=100, subsampling=0),
    "quality 5": lambda: saved(quality=5),
    "one unit": lambda: saved(size=(5, 3)),
    "exif": lambda: saved(exif=TAGS.tobytes(), dpi=(300, 300), comment=b"a comment", icc_profile=bytes(500)),
}

FINER_AS_A_WHOLE = ("4:4:0", "4:1:1", "3×1", "ycck")  # which get samples of colour for every pixel, or plain inks


def hole(height: int, width: int) -> np.ndarray:
    """A box that ends at the lower border, and a stroke of two pixels."""
    mask = np.zeros((height, width), bool)
    mask[height // 2 :, width // 3 : width // 2] = True
    mask[height // 5 : height // 5 + 2, width // 8 : -width // 8] = True
    return mask


def filled(data: bytes, mask: np.ndarray):
    photo = decode(data, MAX_PIXELS)
    pixels = photo.pixels.copy()
    pixels[mask] = 255 - pixels[mask] // 2
    return photo, pixels


def touched_blocks(component, mask: np.ndarray) -> np.ndarray:
    """Which blocks of a component have a pixel of the mask, by another way than the code's."""
    result = np.zeros(component.plane.blocks.shape[:2], bool)
    for row, column in np.argwhere(mask):
        result[row // (8 * component.step_y), column // (8 * component.step_x)] = True
    return result


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_without_a_filled_pixel_keep_their_coefficients(kind):
    data = KINDS[kind]()
    before = read_coefficients(data)
    mask = hole(*decode(data, MAX_PIXELS).pixels.shape[:2])
    photo, pixels = filled(data, mask)
    result, container, blocks_changed = encode_filled(photo, pixels, "source", data, mask)
    assert container == "JPEG" and blocks_changed is not None
    after = read_coefficients(result)
    assert (after.frame, after.frame_header, after.scans) == (before.frame, before.frame_header, before.scans)
    reach, changed_count = np.zeros(mask.shape, bool), 0
    for old, new in zip(before.components, after.components, strict=True):
        changed = (old.plane.blocks != new.plane.blocks).any(axis=2)
        touched = touched_blocks(old, mask)
        assert not (changed & ~touched).any()
        changed_count += changed.sum()
        grown = touched.repeat(8 * old.step_y, 0).repeat(8 * old.step_x, 1)[: mask.shape[0], : mask.shape[1]]
        reach |= binary_dilation(grown, np.ones((2 * old.step_y - 1, 2 * old.step_x - 1)))
    assert blocks_changed == changed_count > 0
    seen = decode(result, MAX_PIXELS).pixels
    assert np.array_equal(seen[~reach], photo.pixels[~reach])
    # The hole is as good as with the whole photo encoded anew, with the same tables.
    whole = decode(encode(photo, pixels, "source")[0], MAX_PIXELS).pixels
    errors = [np.abs(one[mask].astype(int) - pixels[mask]).mean() for one in (seen, whole)]
    assert errors[0] <= (2 if kind in FINER_AS_A_WHOLE else 1.1) * errors[1] + 0.5
    assert encode_filled(photo, pixels, "source", data, mask)[0] == result


@pytest.mark.parametrize("kind", ["exif", "progressive grey", "rgb", "cmyk", "cmyk without adobe", "ycck"])
def test_metadata_is_that_of_the_whole_encoder(kind):
    data = KINDS[kind]()
    mask = hole(HEIGHT, WIDTH)
    photo, pixels = filled(data, mask)
    ours, whole = (
        [bytes(file[start:end]) for marker, start, end in header_segments(file) if marker >= 0xE0]
        for file in (encode_filled(photo, pixels, "source", data, mask)[0], encode(photo, pixels, "source")[0])
    )
    if kind == "ycck":  # which becomes plain CMYK where the whole photo is encoded
        assert [part[:15] for part in ours] == [part[:15] for part in whole] and ours[-1][15] == 2
    else:
        assert ours == whole and (ours or kind == "cmyk without adobe")


def test_arithmetic_codes_are_encoded_as_a_whole():
    data = (FILES / "arithmetic.jpg").read_bytes()
    photo = decode(data, MAX_PIXELS)
    mask = hole(*photo.pixels.shape[:2])
    pixels = np.where(mask[..., None] if photo.pixels.ndim == 3 else mask, 9, photo.pixels).astype(np.uint8)
    result, _, blocks_changed = encode_filled(photo, pixels, "source", data, mask)
    assert result == encode(photo, pixels, "source")[0] and blocks_changed is None


def test_a_changed_pixel_outside_the_hole_is_encoded_as_a_whole():
    data = saved()
    mask = hole(HEIGHT, WIDTH)
    photo, pixels = filled(data, mask)
    pixels[0, 0] += 40  # which the mask denies
    assert encode_filled(photo, pixels, "source", data, mask)[2] is None


def test_another_format_has_no_blocks():
    data = saved()
    mask = hole(HEIGHT, WIDTH)
    photo, pixels = filled(data, mask)
    assert encode_filled(photo, pixels, "png", data, mask)[1:] == ("PNG", None)
    assert encode_filled(replace(photo, format="PNG", encoder={}), pixels, "jpeg", data, mask)[2] is None


def test_a_hole_filled_with_what_it_had_changes_few_blocks():
    data = saved(quality=60)
    mask = hole(HEIGHT, WIDTH)
    photo = decode(data, MAX_PIXELS)
    changed = encode_filled(photo, photo.pixels, "source", data, mask)[2]
    touched = sum(touched_blocks(part, mask).sum() for part in read_coefficients(data).components)
    assert changed is not None and changed < touched / 2


def test_a_second_frame_header_of_another_size_is_refused():
    data = saved("L")
    (frame,) = (data[start:end] for marker, start, end in header_segments(data) if marker == 0xC0)
    large = frame[:5] + b"\xff\xdc\xff\xdc" + frame[9:]
    with pytest.raises(ValueError, match="65500x65500"):
        read_coefficients(data.replace(frame, large + frame), (HEIGHT, WIDTH))


def test_damaged_files_are_refused_or_read_and_never_crash():
    chance = np.random.default_rng(0)
    refused = 0
    for kind in ("baseline 4:2:0", "progressive 4:2:0", "restart markers", "grey"):
        data = KINDS[kind]()
        for _ in range(60):
            damaged = bytearray(data)
            for at in chance.integers(2, len(data), 4):
                damaged[at] = chance.integers(256)
            damaged = bytes(damaged[: chance.integers(len(data) // 2, len(data) + 1)])
            try:
                found = read_coefficients(damaged)
                found.write(b"\xff\xd8")
            except (ValueError, MemoryError):
                refused += 1
    assert refused > 100


def test_without_a_compiler_the_whole_photo_is_encoded(tmp_path):
    code = (
        "import logging, sys, numpy as np; logging.basicConfig()\n"
        "from pipeline.codecs.decode import decode; from pipeline.codecs.encode import encode_filled\n"
        f"data = open({str(tmp_path / 'a.jpg')!r}, 'rb').read(); photo = decode(data, 10**6)\n"
        "print(encode_filled(photo, photo.pixels, 'source', data, np.ones(photo.pixels.shape[:2], bool))[2])"
    )
    (tmp_path / "a.jpg").write_bytes(saved())
    environment = {"PATH": "", "CC": "", "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None" and "JPEG results are encoded as a whole" in done.stderr


@pytest.mark.skipif(not shutil.which("jpegtran"), reason="needs the tools of libjpeg-turbo")
@pytest.mark.parametrize("kind", KINDS)
def test_libjpeg_reads_the_same_coefficients(kind):
    data = KINDS[kind]()
    mask = hole(*decode(data, MAX_PIXELS).pixels.shape[:2])
    photo, pixels = filled(data, mask)
    result = encode_filled(photo, pixels, "source", data, mask)[0]
    for file in (data, result):
        done = subprocess.run(["jpegtran", "-optimize"], input=file, capture_output=True, check=True)
        assert not done.stderr
        ours, theirs = read_coefficients(file), read_coefficients(done.stdout)
        for one, other in zip(ours.components, theirs.components, strict=True):
            inside = np.s_[: one.plane.own_lines, : one.plane.own_columns]
            assert np.array_equal(one.plane.blocks[inside], other.plane.blocks[inside])


@pytest.mark.parametrize("count", [1, 2, 30, 256])
def test_codes_have_at_most_16_bits_and_none_is_only_ones(count):
    frequencies = np.zeros(256, np.int64)
    frequencies[:count] = [max(round(1.6**at), 1) for at in range(40)][:count] if count <= 40 else 1 + np.arange(256)
    code = shortest_code(frequencies)
    counts, symbols = list(code[:16]), list(code[16:])
    assert sorted(symbols) == list(range(count)) and sum(counts) == count
    assert sum(number / 2**length for length, number in enumerate(counts, 1)) < 1
    lengths = np.repeat(np.arange(1, 17), counts)
    assert lengths @ frequencies[symbols] <= frequencies.sum() * np.ceil(np.log2(count + 1))  # as with equal lengths


def test_threads_do_not_disturb_each_other():
    files = [KINDS[kind]() for kind in ("baseline 4:2:0", "progressive 4:4:4, fine", "rgb", "grey")]
    mask = hole(HEIGHT, WIDTH)

    def result(data: bytes) -> bytes:
        photo, pixels = filled(data, mask)
        return encode_filled(photo, pixels, "source", data, mask)[0]

    expected = [result(data) for data in files]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(result, files * 8)) == expected * 8


def test_progressive_scans_are_those_of_the_input():
    data = saved(progressive=True)
    mask = hole(HEIGHT, WIDTH)
    photo, pixels = filled(data, mask)
    result = encode_filled(photo, pixels, "source", data, mask)[0]
    assert [scan.header for scan in read_picture(result).scans] == [scan.header for scan in read_picture(data).scans]


def test_the_first_picture_of_several_is_kept():
    file = io.BytesIO()
    picture().save(file, "MPO", save_all=True, append_images=[picture(size=(40, 30))])
    mask = hole(HEIGHT, WIDTH)
    photo, pixels = filled(file.getvalue(), mask)
    result, container, blocks_changed = encode_filled(photo, pixels, "source", file.getvalue(), mask)
    assert container == "JPEG" and blocks_changed and result.count(b"\xff\xd9") == 1


@pytest.mark.parametrize("mask", [np.zeros((HEIGHT, WIDTH), bool), hole(HEIGHT, WIDTH)], ids=["no hole", "a hole"])
def test_the_manifest_counts_blocks_that_differ(mask):
    data, record, config = saved(), Record("a", FAILED), JobConfig(mask=MaskConfig(max_fraction=1.0))
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    job = prepare(record, Inputs(data, file.getvalue()), config, 64)
    if job.box:
        job.patch[job.mask[job.inside]] //= 2
    result = finish(job, config)
    pairs = zip(read_coefficients(data).components, read_coefficients(result).components, strict=True)
    differing = sum((old.plane.blocks != new.plane.blocks).any(axis=2).sum() for old, new in pairs)
    assert record.blocks_changed == differing and record.outside_max_diff == 0 and (differing > 0) == mask.any()
