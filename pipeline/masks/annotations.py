"""Masks from annotations: boxes in JSON lines and COCO files, kept as one short text per sample."""

import codecs
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.config.job import MaskConfig
from pipeline.errors import ConfigError, SampleError
from pipeline.masks.canvas import Canvas
from pipeline.masks.coco_file import read_coco
from pipeline.masks.sizes import TURNED, is_on_side, size_mismatch
from pipeline.storage.storage import Storage

SPECS_PER_LINE = ("sample_id", "file_name")
MAX_STATED_PIXELS = 1 << 26  # by a COCO file of an image that has fewer
Spec = dict[str, Any]


def read_boxes(storage: Storage) -> Iterator[tuple[str, str]]:
    """Yield samples and their boxes from lines such as ``{"sample_id": "a/b.jpg", "boxes": [[10, 20, 110, 60]]}``.

    Raises:
        ConfigError: an invalid line, with its number.
    """
    with storage.open("") as file:
        for number, line in enumerate(file, start=1):
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
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
    """Yield names of images and their annotations in the file of ``mask.uri``; a name may come several times.

    Args:
        config: kind of the file, and categories.
        storage: the file.
        left_out: receives counts of entries that were left out, by kind.
    """
    return read_coco(storage, config.categories, left_out) if config.kind == "coco" else read_boxes(storage)


def plain_name(name: str) -> str:
    """Normalize a name of an image: replace backslashes with slashes, and remove a leading ``./``."""
    return re.sub(r"^(\./+)+", "", name.replace("\\", "/"))


def draw(spec: str, shape: tuple[int, int], config: MaskConfig, orientation: int = 1) -> np.ndarray:
    """Draw the mask of a sample's annotations.

    Args:
        spec: list of what :func:`read_boxes` or :func:`read_coco` found for it.
        shape: height and width of the image as it was annotated, see :func:`pipeline.masks.sizes.drawn_shape`.
        config: how boxes are written.
        orientation: of the image, 1 … 8 as in EXIF.

    Returns:
        (height, width) bool; of the size that a COCO file states, where it states one.

    Raises:
        SampleError: annotations that are none, lie outside the image, or cover nothing.
    """
    try:
        parts: list[Spec] = json.loads(spec)
        if config.kind == "boxes":
            canvas, shapes = Canvas(shape, _if_turned(shape, orientation, config)), _listed(parts, "boxes")
            for box in shapes:
                canvas.add_box(box, config.box_format, config.box_units)
        else:
            size = _annotated_size(parts, shape, config, orientation)
            canvas, shapes = Canvas(size, _if_turned(size, orientation, config)), _listed(parts, "segments")
            for segment in shapes:
                canvas.add_segment(segment)
        mask = canvas.mask()
        if shapes and not mask.any():
            raise ValueError(f"none of {len(shapes)} covers a pixel")
        return mask
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise SampleError("mask", "BadAnnotation", f"the annotation cannot be drawn: {error}") from error


def _listed(parts: list[Spec], key: str) -> list[Any]:
    return [shape for part in parts for shape in part[key]]


def _annotated_size(parts: list[Spec], shape: tuple[int, int], config: MaskConfig, orientation: int) -> tuple[int, int]:
    """Return height and width of the picture that the coordinates of a COCO file refer to."""
    sizes = {(int(part.get("height", shape[0])), int(part.get("width", shape[1]))) for part in parts}
    if len(sizes) > 1:
        raise ValueError(f"the file states several sizes of it, {sorted(sizes)}")
    (stated,) = sizes
    if min(stated) < 1:
        raise ValueError(f"the file states {stated[1]}x{stated[0]} pixels as its size")
    is_turned = orientation >= TURNED
    if stated == shape or (config.upright and is_turned and stated == shape[::-1]):
        return shape  # some tools state the size of the image as it is stored
    if not config.resize or is_on_side(stated, shape):
        stored = shape[::-1] if config.upright and is_turned else shape
        raise size_mismatch("annotated at", stated, stored, orientation, config)
    if stated[0] * stated[1] > max(4 * shape[0] * shape[1], MAX_STATED_PIXELS):
        raise ValueError(f"annotated at {stated[1]}x{stated[0]} pixels, far more than the image has")
    return stated


def _if_turned(shape: tuple[int, int], orientation: int, config: MaskConfig) -> str:
    """Return the advice for shapes that fit only with the sides swapped; empty if EXIF swaps none."""
    if orientation < TURNED:
        return ""
    other = "false" if config.upright else "true"
    return f"by its EXIF orientation {orientation} it may also be {shape[0]}x{shape[1]}: try mask.upright={other}"
