"""``python -m tests.fuzz``: broken files, masks, annotations and names, made from good ones.

Whatever comes in, what comes out is a result or a ``SampleError``; no name leaves its folder;
no input takes much memory.
"""

import argparse
import faulthandler
import io
import json
import random
import resource
import sys
import time
import zlib
from collections import Counter
from functools import cache

import imagecodecs
import numpy as np
from PIL import Image

from moebius.windows import Box
from pipeline.codecs.decode import decode
from pipeline.codecs.encode import check_encodable, encode
from pipeline.codecs.metadata.policy import with_policy
from pipeline.codecs.metadata.provenance import INPAINTED
from pipeline.config.job import MaskConfig
from pipeline.containers import METADATA_POLICIES
from pipeline.errors import SampleError
from pipeline.masks.decode import read_mask
from pipeline.storage.storage import Storage
from tests.pipeline.codecs.metadata.telltale_photos import PHOTOS

LIMIT_PIXELS = 1_000_000
LARGEST_BYTES = 1 << 30  # of this process, with the libraries
SIZE = (24, 20)
NUMBERS = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\0\0\0\0",
    b"\0\1",
)
NAMES = (
    "a/b.jpg",
    "../x",
    "/etc/x",
    "a/../../x",
    "..\\x",
    "caf\u00e9",
    "\ud800",
    "a\0b",
    "a//b",
    "./a",
    "x" * 5000,
    "C:x",
)
VALUES = (0, -1, 1.5, 1e300, float("nan"), float("inf"), None, "", "x", [], {}, True, 10**30, "\ud800", 1 << 62)


@cache
def good_files() -> list[bytes]:
    """A small file of every format and mode that is taken, and some that are refused."""
    colours = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    photo = Image.fromarray(np.cumsum(colours // 64, axis=1).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    files = []
    for mode in ("1", "L", "LA", "RGB", "RGBA", "P", "CMYK", "YCbCr", "I;16", "F"):
        picture = (
            Image.fromarray(np.asarray(photo.convert("L"), np.uint16) * 7) if mode == "I;16" else photo.convert(mode)
        )
        for container, options in (
            ("PNG", {"exif": exif.tobytes(), "dpi": (72, 72)}),
            ("JPEG", {"exif": exif.tobytes(), "comment": b"a comment", "progressive": mode == "L"}),
            ("WEBP", {"lossless": mode == "RGBA", "exif": exif.tobytes()}),
            ("TIFF", {"compression": "tiff_lzw", "tiffinfo": {274: 6, 270: "a description"}}),
            ("TIFF", {}),
            ("BMP", {}),
            ("PPM", {}),
            ("GIF", {}),
        ):
            file = io.BytesIO()
            try:
                picture.save(file, container, **options)
            except (OSError, ValueError, KeyError):
                continue
            files.append(file.getvalue())
    deep = np.random.default_rng(0).integers(0, 65536, (*SIZE, 4), np.uint16)
    for channels in (2, 3, 4):
        pixels = np.ascontiguousarray(deep[..., :channels])
        files.append(imagecodecs.png_encode(pixels))
        if channels > 2:
            extra = "unassalpha" if channels == 4 else None
            files.append(imagecodecs.tiff_encode(pixels, photometric="rgb", compression="lzw", extrasample=extra))
    file = io.BytesIO()
    photo.save(file, "GIF", save_all=True, append_images=[photo.rotate(90)])
    return [*files, file.getvalue(), *PHOTOS.values()]


def broken(file: bytes, chance: random.Random) -> bytes:
    """A file with a few things wrong in it."""
    data = bytearray(file)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(len(data) + 1) if chance.random() < 0.8 else chance.randrange(min(len(data), 64) + 1)
        kind = chance.randrange(6)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << chance.randrange(8)
        elif kind == 1:
            number = chance.choice(NUMBERS)
            data[at : at + len(number)] = number
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at : at + chance.randrange(1, 32)]
        elif kind == 4:
            data[at:at] = data[at : at + chance.randrange(1, 64)]
        else:
            other = chance.choice(good_files())
            data[at:] = other[chance.randrange(len(other)) :]
    return _with_sums(bytes(data)) if chance.random() < 0.7 else bytes(data)


def _with_sums(data: bytes) -> bytes:
    """A broken PNG whose checksums say that it is sound, so that what is wrong gets further."""
    if not data.startswith(b"\x89PNG"):
        return data
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        parts += [data[at:end], zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")]
        at = end + 4
    return b"".join(parts) + data[at:]


def annotation(chance: random.Random) -> tuple[str, MaskConfig]:
    """Annotations of any shape, many of them sensible."""

    def number() -> object:
        return chance.choice(VALUES) if chance.random() < 0.1 else chance.randrange(-5, 40)

    def segment() -> object:
        runs = "".join(map(chr, (chance.randrange(40, 120) for _ in range(chance.randrange(12)))))
        return chance.choice(
            (
                {"counts": [number() for _ in range(chance.randrange(5))], "size": [number(), number()]},
                {"counts": runs, "size": list(SIZE)},
                {"bbox": [number() for _ in range(4)]},
                [[number() for _ in range(chance.choice((6, 8, 5)))]],
                chance.choice(VALUES),
            )
        )

    def shape() -> object:
        if chance.random() < 0.6:  # of the picture, and in any writing
            box = [2, 3, chance.randrange(4, 12), chance.randrange(4, 12)]
            return chance.choice(({"box": box}, {"box": str(box)}, {"polygon": [[2, 3], box[2:], [2, 9]]}))
        role = chance.choice(("box", "polygon", "rle", "fault"))
        return {role: chance.choice(([number() for _ in range(chance.choice((4, 6, 8)))], segment(), str(segment())))}

    kind = chance.choice(("boxes", "coco", "shapes"))
    part: object = {"boxes": [[number() for _ in range(chance.choice((4, 4, 4, 3)))] for _ in range(2)]}
    if kind == "coco":
        part = {"segments": [segment() for _ in range(2)], "height": chance.choice((24, number())), "width": 20}
    if kind == "shapes":
        part = {"objects": [shape() for _ in range(2)], "score": chance.choice((None, 0.5))}
    config = MaskConfig(
        kind=kind,
        resize=chance.random() < 0.5,
        box_format=chance.choice(("xyxy", "xywh")),
        box_units=chance.choice(("pixel", "relative")),
        max_fraction=1.0,
    )
    return json.dumps([part if chance.random() < 0.95 else chance.choice(VALUES)]), config


LABEL_TEXTS = (
    "0 0.5 0.5 0.2 0.1 0.9\n1 0.1 0.1 0.4 0.1 0.3 0.5\n",
    '{"shapes": [{"label": "a", "points": [[1, 2], [9, 8]], "shape_type": "rectangle"}], "imageHeight": 24}',
    '{"image": {"height": 24, "width": 20}, "annotations": [{"segmentation": {"size": [24, 20], "counts": [9, 471]}}]}',
    "<annotation><object><name>a</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    "</object></annotation>",
)


def label_file(chance: random.Random) -> bytes:
    """A label file of any format with a few bytes changed, many of them still sensible."""
    data = bytearray(chance.choice(LABEL_TEXTS).encode())
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(data))
        data[at : at + chance.randrange(3)] = chance.choice(
            (b"", b"-", b"9", b"e9", b"null", b"nan", b"[", b"<!", b"\xff")
        )
    return bytes(data)


def name(chance: random.Random) -> str:
    """A name that may try to leave its folder."""
    return "/".join(chance.choice((*NAMES, "..", ".", "", "a")) for _ in range(chance.randrange(1, 4)))


def try_picture(chance: random.Random) -> str:
    """Decode a broken file; repaint and encode what could be decoded."""
    photo = decode(broken(chance.choice(good_files()), chance), LIMIT_PIXELS)
    mask = np.zeros(photo.pixels.shape[:2], bool)
    mask[: 1 + mask.shape[0] // 2] = True
    hole = Box.around(mask)
    pixels = photo.repaint(photo.rgb()[hole.slices].copy(), mask[hole.slices], hole)
    assert pixels.shape == photo.pixels.shape and pixels.dtype == photo.pixels.dtype
    image_format = chance.choice(("source", "png", "webp", "jpeg"))
    container = check_encodable(photo, image_format)
    photo, _ = with_policy(photo, container, chance.choice(METADATA_POLICIES), INPAINTED)
    encode(photo, pixels, image_format)
    return "picture"


def try_mask(chance: random.Random) -> str:
    """Read a broken mask file for a sound photo."""
    photo = decode(good_files()[3], LIMIT_PIXELS)
    config = MaskConfig(resize=True, max_fraction=1.0, invert=chance.random() < 0.5)
    mask = read_mask(broken(chance.choice(good_files()), chance), photo, config, LIMIT_PIXELS)
    assert mask.shape == photo.pixels.shape[:2] and mask.dtype == bool
    return "mask"


def try_annotation(chance: random.Random) -> str:
    """Draw annotations."""
    photo = decode(good_files()[3], LIMIT_PIXELS)
    text, config = annotation(chance)
    mask = read_mask(text.encode(errors="replace"), photo, config, LIMIT_PIXELS)
    assert mask.shape == photo.pixels.shape[:2] and mask.dtype == bool
    return "annotation"


def try_labels(chance: random.Random) -> str:
    """Draw a label file."""
    photo = decode(good_files()[3], LIMIT_PIXELS)
    config = MaskConfig(
        kind="labels",
        labels=chance.choice(("auto", "yolo", "labelme", "voc", "sa1b")),
        categories=chance.choice(([], ["a"], [0])),
        max_fraction=1.0,
        resize=chance.random() < 0.5,
    )
    mask = read_mask(label_file(chance), photo, config, LIMIT_PIXELS)
    assert mask.shape == photo.pixels.shape[:2] and mask.dtype == bool
    return "labels"


def try_name(chance: random.Random) -> str:
    """Ask for the path of a name."""
    root = Storage("/data/sink")
    key = name(chance)
    try:
        path = root.path(key)
    except ValueError as error:
        raise SampleError("write", "UnusableName", str(error)) from error
    assert path == "/data/sink" or path.startswith("/data/sink/"), key
    assert ".." not in path.split("/") and "\0" not in path, key
    return "name"


TRIALS = (try_picture, try_picture, try_picture, try_picture, try_mask, try_annotation, try_labels, try_name)


def attempt(seed: int, number: int) -> str:
    """One input: what became of it. It depends on both numbers alone.

    Raises:
        Exception: anything that is no ``SampleError``: a fault of ours.
    """
    chance = random.Random(f"{seed}/{number}")
    try:
        return chance.choice(TRIALS)(chance)
    except SampleError as error:
        return f"{error.stage}: {error.kind}"


def main() -> int:
    """Try inputs; say how they ended, and where any went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="number of one input, to look at what it does")
    options = parser.parse_args()
    faulthandler.enable()
    if options.only is not None:
        sys.stdout.write(f"{attempt(options.seed, options.only)}\n")
        return 0
    outcomes: Counter[str] = Counter()
    faults, started, slowest = [], time.monotonic(), (0.0, 0)
    for number in range(options.inputs):
        before = time.monotonic()
        try:
            outcomes[attempt(options.seed, number)] += 1
        except Exception as error:  # noqa: BLE001 - what is looked for
            faults.append(f"--seed {options.seed} --only {number}: {type(error).__name__}: {str(error)[:120]}")
        slowest = max(slowest, (time.monotonic() - before, number))
        if _largest_bytes() > LARGEST_BYTES:
            faults.append(f"--seed {options.seed} --only {number} or before: {_largest_bytes() >> 20} MiB of memory")
            break
        if time.monotonic() - started > options.seconds:
            break
    for outcome, count in sorted(outcomes.items()):
        sys.stdout.write(f"{count:>8} {outcome}\n")
    sys.stdout.write(
        f"{number + 1} inputs in {time.monotonic() - started:.0f} s, at most {_largest_bytes() >> 20} MiB; "
        f"slowest {slowest[0]:.2f} s (--only {slowest[1]}); {len(faults)} faults\n"
    )
    sys.stdout.writelines(f"{fault}\n" for fault in faults[:50])
    return 1 if faults else 0


def _largest_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


if __name__ == "__main__":
    sys.exit(main())
