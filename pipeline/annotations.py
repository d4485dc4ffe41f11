"""Masks in words: boxes in JSON lines and COCO annotations, read into one short text a sample and drawn from it."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from pipeline.coco_file import read_coco
from pipeline.config import MaskConfig
from pipeline.errors import ConfigError, SampleError
from pipeline.storage import Storage

SPECS_PER_LINE = ("sample_id", "file_name")
FARTHEST_PX = 10_000_000  # of a coordinate; anything beyond is a broken annotation
Spec = dict[str, Any]


def read_boxes(storage: Storage) -> Iterator[tuple[str, str]]:
    """Samples and their boxes from lines such as ``{"sample_id": "a/b.jpg", "boxes": [[10, 20, 110, 60]]}``.

    Raises:
        ConfigError: a line that is none of these, with its number.
    """
    with storage.open("") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                name = next(row[key] for key in SPECS_PER_LINE if key in row)
                yield str(name), json.dumps({"boxes": list(row["boxes"])})
            except (ValueError, TypeError, KeyError, StopIteration) as error:
                raise ConfigError(
                    f"{storage}, line {number}: expected an object with sample_id (or file_name) and boxes"
                ) from error


def read_annotations(
    config: MaskConfig, storage: Storage, left_out: Counter[str] | None = None
) -> Iterator[tuple[str, str]]:
    """Names of images and what the file of ``mask.uri`` says of each; a name may come several times.

    Args:
        config: kind of the file, and categories.
        storage: the file.
        left_out: is given what the file holds beside that, by kind.
    """
    return read_coco(storage, config.categories, left_out) if config.kind == "coco" else read_boxes(storage)


def plain_name(name: str) -> str:
    """A name of an image with slashes, as Windows' tools do not write it, and without ``./`` before it."""
    return re.sub(r"^(\./+)+", "", name.replace("\\", "/"))


def draw(spec: str, shape: tuple[int, int], config: MaskConfig) -> np.ndarray:
    """What a sample's annotations cover.

    Args:
        spec: list of what :func:`read_boxes` or :func:`read_coco` found for it.
        shape: height and width of the image.
        config: how boxes are written.

    Returns:
        (height, width) bool; of the size that a COCO file states, where it states one.

    Raises:
        SampleError: annotations that are none.
    """
    try:
        parts: list[Spec] = json.loads(spec)
        if config.kind == "boxes":
            mask = np.zeros(shape, bool)
            for box in [box for part in parts for box in part["boxes"]]:
                top, left, bottom, right = _box(box, shape, config)
                mask[top:bottom, left:right] = True
            return mask
        content = parts[0]
        stated = (int(content.get("height", shape[0])), int(content.get("width", shape[1])))
        if stated != shape and not config.resize:
            raise SampleError(
                "mask",
                "MaskSizeMismatch",
                f"annotated at {stated[1]}x{stated[0]}, the image is stored as {shape[1]}x{shape[0]} pixels; "
                "mask.resize=true scales",
            )
        if stated[0] * stated[1] > 4 * shape[0] * shape[1]:
            raise ValueError(f"annotated at {stated[1]}x{stated[0]} pixels, far more than the image has")
        mask = np.zeros(stated, bool)
        for segment in [segment for part in parts for segment in part["segments"]]:
            mask |= _segment(segment, stated)
        return mask
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise SampleError("mask", "BadAnnotation", f"the annotation cannot be drawn: {error}") from error


def _box(box: list[float], shape: tuple[int, int], config: MaskConfig) -> tuple[int, int, int, int]:
    left, top, right, bottom = map(_coordinate, box)
    if config.box_format == "xywh":
        right, bottom = left + right, top + bottom
    if config.box_units == "relative":
        left, right, top, bottom = left * shape[1], right * shape[1], top * shape[0], bottom * shape[0]
    if right < left or bottom < top:
        raise ValueError(f"box {box} ends before it starts; mask.box_format is {config.box_format}")
    clipped = (math.floor(top), math.floor(left), math.ceil(bottom), math.ceil(right))
    return tuple(max(0, value) for value in clipped)  # type: ignore[return-value]


def _coordinate(value: float) -> float:
    number = float(value)
    if not abs(number) <= FARTHEST_PX:  # not a number, infinite, or absurd
        raise ValueError(f"{value} is no coordinate")
    return number


def _segment(segment: Any, shape: tuple[int, int]) -> np.ndarray:
    """Polygons, a run-length encoding or, for want of both, a box of COCO."""
    if isinstance(segment, dict) and "bbox" in segment:
        mask = np.zeros(shape, bool)
        top, left, bottom, right = _box(segment["bbox"], shape, MaskConfig(box_format="xywh"))
        mask[top:bottom, left:right] = True
        return mask
    if isinstance(segment, dict):
        return _run_lengths(segment, shape)
    canvas = Image.new("1", (shape[1], shape[0]))
    for polygon in segment:
        points = [_coordinate(value) - 0.5 for value in polygon]  # pixels have their centres at half a pixel
        if len(points) < 6 or len(points) % 2:
            raise ValueError(f"a polygon of {len(points)} numbers")
        ImageDraw.Draw(canvas).polygon(points, fill=1, outline=1)  # rather a pixel more than the object's rim
    return np.asarray(canvas)


def _run_lengths(segment: Spec, shape: tuple[int, int]) -> np.ndarray:
    counts = segment["counts"]
    runs = np.array(_unpacked(counts) if isinstance(counts, str) else counts, np.int64)
    if tuple(segment["size"]) != shape or (runs < 0).any() or runs.sum() != shape[0] * shape[1]:
        raise ValueError(f"run lengths that do not fill {shape[1]}x{shape[0]} pixels")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(shape[::-1]).T


def _unpacked(counts: str) -> list[int]:
    """COCO's compressed run lengths: five bits a character, from the third on less the one before the last."""
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError("run lengths with characters that are none of theirs")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs
