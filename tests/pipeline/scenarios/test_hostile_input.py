"""Bad input of every kind: what becomes of it is a result, or an error that names stage and type."""

import json
import struct
import zlib
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from pipeline.codecs.identification.header import open_checked
from pipeline.config.job import JobConfig, LimitsConfig, MaskConfig, SinkConfig
from pipeline.errors import ConfigError, SampleError
from pipeline.masks.annotations import read_annotations
from pipeline.records import FAILED, Record
from pipeline.sources.inputs import Inputs
from pipeline.storage.storage import Storage
from pipeline.worker.sample import decoded_bytes, finish, prepare
from tests.conftest import saved, textured

SIDE, MAX_PIXELS = 40, 1_000_000
PHOTO = Image.fromarray(textured(SIDE, SIDE))
SIGNATURE = b"\x89PNG\r\n\x1a\n"
OK = "ok"
UNREADABLE, BROKEN, TRUNCATED = "decode UnreadableImage", "decode BrokenImage", "decode TruncatedImage"
TOO_MANY, SEVERAL, MODE = "decode TooManyPixels", "decode SeveralFrames", "decode UnsupportedMode"
DAMAGED = f"{UNREADABLE}|{BROKEN}|{TRUNCATED}"


def chunk(name: bytes, content: bytes, length: int | None = None) -> bytes:
    size = len(content) if length is None else length
    return struct.pack(">I", size) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, data: bytes, *extra: bytes, depth: int = 8, colour: int = 2) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return SIGNATURE + header + b"".join(extra) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tiff(*tags: tuple[int, int, int, int], data: bytes = b"") -> bytes:
    """A little-endian TIFF of those tags (number, type, count, value)."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + data


def size_tags(width: int, height: int) -> list[tuple[int, int, int, int]]:
    values = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 122, 277: 1, 278: height, 279: width * height}
    return [(tag, 4, 1, value & 0xFFFFFFFF) for tag, value in values.items()]


GOOD = {
    "png": saved(PHOTO, "PNG"),
    "jpeg": saved(PHOTO, "JPEG"),
    "webp": saved(PHOTO, "WEBP"),
    "tiff": saved(PHOTO, "TIFF"),
    "tiff lzw": saved(PHOTO, "TIFF", compression="tiff_lzw"),
    "bmp": saved(PHOTO, "BMP"),
    "ppm": saved(PHOTO, "PPM"),
    "gif": saved(PHOTO.quantize(16), "GIF"),
    "deep png": imagecodecs.png_encode(np.random.default_rng(0).integers(0, 65536, (40, 40, 3), np.uint16)),
}
SMALL = zlib.compress(bytes(SIDE * (1 + 3 * SIDE)))
BOMB = zlib.compress(bytes(200 << 20))
TWO = {"save_all": True, "append_images": [PHOTO.rotate(90)]}
TEXT_BOMB = b"a\0\0" + zlib.compress(bytes(80 << 20))
ITXT_BOMB = b"a\0\1\0\0\0" + zlib.compress(bytes(80 << 20))

IMAGES: dict[str, tuple[bytes, str]] = {
    # Larger than they seem.
    "png header of 60000x60000": (png(60_000, 60_000, SMALL), TOO_MANY),
    "png header of 2**31 rows": (png(1, 2**31 - 1, SMALL), TOO_MANY),
    "gif header of 65535x65535": (b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x08\0;", TOO_MANY),
    "tiff header of 60000x60000": (tiff(*size_tags(60_000, 60_000)), TOO_MANY),
    "tiff of 2**31 columns": (tiff(*size_tags(2**31 - 1, 9)), TOO_MANY),
    "bmp of 60000x60000": (GOOD["bmp"][:18] + struct.pack("<ii", 60_000, 60_000) + GOOD["bmp"][26:], TOO_MANY),
    "ppm of 99999x99999": (b"P6\n99999 99999\n255\n", TOO_MANY),
    "jpeg of 65535x65535": (
        GOOD["jpeg"].replace(struct.pack(">HH", SIDE, SIDE), b"\xff\xff\xff\xff", 1),
        TOO_MANY,
    ),
    "webp of 16383x16383": (saved(Image.new("L", (16383, 70)), "WEBP", lossless=True), TOO_MANY),
    "png of 200 MiB in a small one": (png(SIDE, SIDE, BOMB), f"{OK}|{DAMAGED}"),
    "png text of 80 MiB": (png(SIDE, SIDE, SMALL, chunk(b"zTXt", TEXT_BOMB)), DAMAGED),
    "png international text of 80 MiB": (png(SIDE, SIDE, SMALL, chunk(b"iTXt", ITXT_BOMB)), DAMAGED),
    "png profile of 80 MiB": (png(SIDE, SIDE, SMALL, chunk(b"iCCP", TEXT_BOMB[:2] + TEXT_BOMB[2:])), f"{OK}|{DAMAGED}"),
    "png chunk longer than the file": (png(SIDE, SIDE, SMALL, chunk(b"tEXt", b"a\0b", 2**31 - 1)), DAMAGED),
    # Not what they say, or nothing at all.
    "empty": (b"", UNREADABLE),
    "one byte": (b"\xff", UNREADABLE),
    "signature of png alone": (SIGNATURE, UNREADABLE),
    "start of jpeg alone": (b"\xff\xd8\xff", UNREADABLE),
    "html": (b"<!DOCTYPE html><title>404</title>", UNREADABLE),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', UNREADABLE),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", UNREADABLE),
    "pdf": (b"%PDF-1.7\n1 0 obj\n", UNREADABLE),
    "zeros": (bytes(4096), UNREADABLE),
    "zip": (b"PK\3\4" + bytes(60), UNREADABLE),
    "avif": (b"\0\0\0 ftypavif\0\0\0\0avifmif1miaf", UNREADABLE),
    "two files in one": (GOOD["png"] + GOOD["jpeg"], OK),
    "jpeg with a tail": (GOOD["jpeg"] + bytes(999), OK),
    "png without pixels": (SIGNATURE + GOOD["png"][8:33] + chunk(b"IEND", b""), DAMAGED),
    "png of 0x0": (png(0, 0, zlib.compress(b"")), UNREADABLE),
    "ppm of 0x0": (b"P6\n0 0\n255\n", UNREADABLE),
    "tiff of 0x9": (tiff(*size_tags(0, 9)), UNREADABLE),
    "gif of 0x0": (b"GIF89a\0\0\0\0\0\0\0,\0\0\0\0\0\0\0\0\0\x08\0;", UNREADABLE),
    "png with a wrong checksum": (GOOD["png"][:29] + b"\0\0\0\0" + GOOD["png"][33:], DAMAGED),
    "png with garbage for pixels": (png(SIDE, SIDE, b"garbage"), DAMAGED),
    "png of unknown colour type": (png(SIDE, SIDE, SMALL, colour=5), UNREADABLE),
    "png of 16 bits cut short": (GOOD["deep png"][:-900], TRUNCATED),
    "jpeg with garbage for pixels": (GOOD["jpeg"][:-200] + bytes(range(200)), f"{OK}|{DAMAGED}"),
    "jpeg with an EXIF of lies": (saved(PHOTO, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"), OK),
    "jpeg with an endless segment": (b"\xff\xd8\xff\xe1\xff\xff" + GOOD["jpeg"][2:], DAMAGED),
    "tiff without strips": (tiff(*size_tags(9, 9)[:5]), DAMAGED),
    "tiff with strips outside the file": (tiff(*size_tags(9, 9)), DAMAGED),
    "tiff whose directory is its own next": (
        b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHII", 256, 4, 1, 9) + struct.pack("<I", 8),
        DAMAGED,
    ),
    # Kinds of pixels.
    "1x1": (saved(PHOTO.resize((1, 1)), "PNG"), OK),
    "1x900": (saved(PHOTO.resize((1, 900)), "JPEG"), OK),
    "bilevel": (saved(PHOTO.convert("1"), "PNG"), OK),
    "palette": (saved(PHOTO.quantize(16), "PNG"), OK),
    "palette with transparency": (saved(PHOTO.quantize(16), "PNG", transparency=bytes(range(16))), OK),
    "palette index outside the palette": (
        png(8, 1, zlib.compress(b"\0" + bytes(range(8))), chunk(b"PLTE", bytes(6)), colour=3),
        f"{OK}|{DAMAGED}",
    ),
    "cmyk jpeg": (saved(PHOTO.convert("CMYK"), "JPEG"), OK),
    "cmyk jpeg without its Adobe segment": (
        saved(PHOTO.convert("CMYK"), "JPEG").replace(b"\xff\xee\0\x0eAdobe", b"\xff\xed\0\x0eAdobe"),
        OK,
    ),
    "ycck jpeg": (
        (lambda data: data.replace(b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0\2"))(saved(PHOTO.convert("CMYK"), "JPEG")),
        OK,
    ),
    "lab tiff": (saved(Image.new("LAB", (9, 9)), "TIFF"), MODE),
    "float tiff": (saved(PHOTO.convert("F"), "TIFF"), MODE),
    "float tiff of NaN": (saved(Image.fromarray(np.full((9, 9), np.nan, np.float32)), "TIFF"), MODE),
    "32 bit tiff": (saved(PHOTO.convert("I"), "TIFF"), MODE),
    "16 bit ppm": (b"P6 2 1 65535\n" + bytes(12), MODE),
    "16 bit with a transparent colour": (
        png(1, 1, zlib.compress(bytes(7)), chunk(b"tRNS", bytes(6)), depth=16),
        MODE,
    ),
    "turned tiff": (saved(PHOTO, "TIFF", tiffinfo={274: 8}), OK),
    "orientation of 77": (saved(PHOTO, "TIFF", tiffinfo={274: 77}), OK),
    # Several pictures.
    "animated gif": (saved(PHOTO, "GIF", **TWO), SEVERAL),
    "animated png": (saved(PHOTO, "PNG", **TWO), SEVERAL),
    "animated webp": (saved(PHOTO, "WEBP", **TWO), SEVERAL),
    "multi-page tiff": (saved(PHOTO, "TIFF", **TWO), SEVERAL),
    "mpo": (saved(PHOTO, "MPO", **TWO), OK),
}
CUTS = [
    (kind, share)
    for kind in ("png", "jpeg", "webp", "tiff", "tiff lzw", "bmp", "ppm", "deep png")
    for share in (0.01, 0.1, 0.3, 0.6, 0.9, 0.98)
]


def fate(image: bytes, mask: bytes | None = None, **options) -> str:
    """What becomes of a sample: ``ok``, or stage and type of its error."""
    config = JobConfig(mask=MaskConfig(**{"resize": mask is None, "max_fraction": 1.0, **options}))
    config = JobConfig(mask=config.mask, limits=LimitsConfig(max_pixels=MAX_PIXELS))
    record = Record("a", FAILED)
    try:
        header = open_checked(image, MAX_PIXELS)
        assert decoded_bytes(header, image, JobConfig()) > 0
        job = prepare(record, Inputs(image, HALF if mask is None else mask), config, 64, header)
        assert job.photo.pixels.shape[:2] == job.mask.shape == (record.height, record.width)
        sink = SinkConfig(image_format="png" if job.photo.format == "GIF" else "source")
        assert finish(job, replace(config, sink=sink)) and record.outside_max_diff == 0
    except SampleError as error:
        assert error.message and " at 0x" not in error.message, error.message
        return f"{error.stage} {error.kind}"
    return OK


HALF = saved(Image.fromarray(np.repeat(np.array([[0, 255]], np.uint8), 2, axis=0)), "PNG")


@pytest.mark.parametrize("case", IMAGES)
def test_image(case):
    data, expected = IMAGES[case]
    assert fate(data) in expected.split("|")


@pytest.mark.parametrize(("kind", "share"), CUTS)
def test_file_that_is_cut_short(kind, share):
    data = GOOD[kind]
    assert fate(data) == OK
    assert fate(data[: int(share * len(data))]) in DAMAGED.split("|")


EXACT = {"resize": False}
GREY_MASK = np.zeros((SIDE, SIDE), np.uint8)
GREY_MASK[4:9, 4:9] = 255
MASKS: dict[str, tuple[bytes, str]] = {
    "empty file": (b"", "mask UnreadableImage"),
    "text": (b"mask", "mask UnreadableImage"),
    "of another size": (HALF, "mask MaskSizeMismatch"),
    "cut short": (saved(Image.fromarray(GREY_MASK), "BMP")[:-500], "mask TruncatedImage|mask BrokenImage"),
    "bomb": (png(60_000, 60_000, SMALL), "mask TooManyPixels"),
    "animated": (saved(PHOTO, "GIF", **TWO), "mask SeveralFrames"),
    "16 bit": (saved(Image.fromarray(GREY_MASK.astype(np.uint16) * 257), "PNG"), OK),
    "bilevel": (saved(Image.fromarray(GREY_MASK).convert("1"), "TIFF", compression="group4"), OK),
    "palette": (saved(Image.fromarray(GREY_MASK).quantize(2), "PNG"), OK),
    "grey with alpha": (saved(Image.fromarray(GREY_MASK).convert("LA"), "PNG"), OK),
    "jpeg": (saved(Image.fromarray(GREY_MASK), "JPEG"), OK),
    "cmyk": (saved(Image.fromarray(GREY_MASK).convert("CMYK"), "TIFF"), OK),
    "float": (saved(Image.fromarray(GREY_MASK / np.float32(255)), "TIFF"), "mask UnsupportedMode"),
    "float of NaN": (saved(Image.fromarray(np.full((SIDE, SIDE), np.nan, np.float32)), "TIFF"), "mask UnsupportedMode"),
    "32 bit": (saved(Image.fromarray(GREY_MASK.astype(np.int32)), "TIFF"), "mask UnsupportedMode"),
}


@pytest.mark.parametrize("case", MASKS)
def test_mask(case):
    data, expected = MASKS[case]
    assert fate(GOOD["png"], data, **EXACT) in expected.split("|")


def boxes(*rows: object) -> str:
    return json.dumps([{"boxes": list(rows)}])


def coco(*segments: object, **size: object) -> str:
    return json.dumps([{"segments": list(segments), **size}])


BAD = "mask BadAnnotation"
ANNOTATIONS: dict[str, tuple[str, str, str]] = {
    "box of NaN": ("boxes", boxes([0, 0, float("nan"), 9]), BAD),
    "box without end": ("boxes", boxes([0, 0, float("inf"), 9]), BAD),
    "box reversed": ("boxes", boxes([9, 9, 1, 1]), BAD),
    "box of three": ("boxes", boxes([1, 2, 3]), BAD),
    "box of words": ("boxes", boxes(["a", "b", "c", "d"]), BAD),
    "box of null": ("boxes", boxes([None, 0, 1, 1]), BAD),
    "box that is a number": ("boxes", boxes(7), BAD),
    "box far away": ("boxes", boxes([1e12, 0, 2e12, 9]), BAD),
    "box beside the image": ("boxes", boxes([500, 500, 600, 600]), BAD),
    "box around the image": ("boxes", boxes([-99999, -99999, 99999, 99999]), OK),
    "box without area": ("boxes", boxes([5, 5, 5, 5]), BAD),
    "boxes that are null": ("boxes", '[{"boxes": null}]', BAD),
    "no list": ("boxes", '{"boxes": []}', BAD),
    "no json": ("boxes", "{", BAD),
    "polygon of two points": ("coco", coco([[1, 1, 5, 5]]), BAD),
    "polygon of odd length": ("coco", coco([[1, 1, 5, 5, 9, 1, 2]]), BAD),
    "polygon of NaN": ("coco", coco([[1, 1, 5, 5, float("nan"), 1]]), BAD),
    "polygon far away": ("coco", coco([[1, 1, 5, 5, 1e300, 1]]), BAD),
    "runs that do not fill": ("coco", coco({"counts": [5, 5], "size": [SIDE, SIDE]}), BAD),
    "runs that fill too much": ("coco", coco({"counts": [0, 10**12], "size": [SIDE, SIDE]}), BAD),
    "runs below zero": ("coco", coco({"counts": [1610, -10], "size": [SIDE, SIDE]}), BAD),
    "runs of 2**70": ("coco", coco({"counts": [2**70], "size": [SIDE, SIDE]}), BAD),
    "packed runs of garbage": ("coco", coco({"counts": "\u00e9\u00e9", "size": [SIDE, SIDE]}), BAD),
    "packed runs without end": ("coco", coco({"counts": "o" * 99, "size": [SIDE, SIDE]}), BAD),
    "runs of another size": ("coco", coco({"counts": [4], "size": [2, 2]}), BAD),
    "segment that is a number": ("coco", coco(7), BAD),
    "image of another size": ("coco", coco([[1, 1, 5, 5, 9, 1]], height=7, width=7), "mask MaskSizeMismatch"),
    "image of size null": ("coco", coco([[1, 1, 5, 5, 9, 1]], height=None), BAD),
    "entry that is a number": ("coco", "[7]", BAD),
}


@pytest.mark.parametrize("case", ANNOTATIONS)
def test_annotation(case):
    kind, text, expected = ANNOTATIONS[case]
    assert fate(GOOD["png"], text.encode(), kind=kind, resize=False) == expected


def test_annotated_size_that_would_fill_the_memory_is_refused():
    text = coco([[1, 1, 5, 5, 9, 1]], height=10**6, width=10**6)
    assert fate(GOOD["png"], text.encode(), kind="coco", resize=True) == BAD


IMAGE = {"id": 1, "file_name": "a.jpg"}
FILES: dict[str, tuple[str, bytes, str]] = {
    "coco without images": ("coco", b'{"annotations": []}', "not a COCO file"),
    "coco that is a list": ("coco", b"[]", "not a COCO file"),
    "coco without end": ("coco", b'{"images": [', "not a COCO file"),
    "coco not in UTF-8": ("coco", b'{"images": ["\xff"]}', "not a COCO file"),
    "coco of numbers": ("coco", b'{"images": [7], "annotations": []}', "not a COCO file"),
    "coco image without a name": ("coco", b'{"images": [{"id": 1}], "annotations": []}', "not a COCO file"),
    "lines without boxes": ("boxes", b'{"sample_id": "a.jpg"}\n', "line 1: expected"),
    "line that is a list": ("boxes", b'{"sample_id": "a.jpg", "boxes": []}\n[]\n', "line 2: expected"),
    "line without end": ("boxes", b'{"sample_id": "a', "line 1: expected"),
    "line not in UTF-8": ("boxes", b'{"sample_id": "\xff", "boxes": []}', "line 1: expected"),
}


@pytest.mark.parametrize("case", FILES)
def test_file_of_annotations_that_is_none_stops_the_job_before_it_starts(case, tmp_path):
    kind, content, message = FILES[case]
    (tmp_path / "file").write_bytes(content)
    storage = Storage(str(tmp_path / "file"))
    with pytest.raises(ConfigError, match=message):
        list(read_annotations(MaskConfig(kind=kind, uri=str(tmp_path / "file")), storage))


def test_annotation_of_an_unknown_image_is_left_out_and_names_may_repeat(tmp_path):
    file = tmp_path / "coco.json"
    annotations = [{"image_id": image, "category_id": 1, "bbox": [1, 1, 5, 5]} for image in (1, 99, None)]
    file.write_text(json.dumps({"images": [IMAGE, {**IMAGE, "id": 2}], "annotations": annotations}))
    found = list(read_annotations(MaskConfig(kind="coco", uri=str(file)), Storage(str(file))))
    assert [name for name, _ in found] == ["a.jpg", "a.jpg"]
    assert [len(json.loads(spec)["segments"]) for _, spec in found] == [1, 0]


@pytest.mark.parametrize(
    "name", ["../a", "a/../../b", "/etc/passwd", "..", "a\\b", "..\\b", "a\0b", "a/..", "//a", "x/../../../y"]
)
def test_name_that_tries_to_leave_its_folder(name):
    with pytest.raises(ValueError, match="is not a valid key below"):
        Storage("/data/sink").path(name)


@pytest.mark.parametrize("name", ["x" * 300 + ".png", ("x" * 200 + "/") * 30 + "b.png"])
def test_name_that_is_too_long_is_an_error_of_its_own_write(name, tmp_path):
    with pytest.raises(OSError, match="too long"):
        Storage(str(tmp_path)).write(name, b"data")


def test_text_of_a_png_is_limited():
    assert PngImagePlugin.MAX_TEXT_MEMORY <= 64 << 20
