"""YOLO: a line of text per object, in parts of width and height, with centre and size of its box or with a polygon."""

import math

from pipeline.config.shapes import BOX, POLYGON
from pipeline.masks.label_files.labelled import LabelFile, Labelled

BOX_NUMBERS, POLYGON_NUMBERS = 4, 6  # of a box, and of the smallest polygon; one more is a confidence
MIN_PART, MAX_PART = -0.5, 1.5  # of width or height; anything beyond is in pixels


def parse_yolo(data: bytes) -> LabelFile:
    """Parse the labels of a detector, of segmentation or of turned boxes (four corners), with or without confidences.

    Raises:
        ValueError: a line that is none; names it.
    """
    lines = data.decode("utf-8-sig").splitlines()
    objects = [_object(line, number) for number, line in enumerate(lines, start=1) if line.strip()]
    return LabelFile(objects, box_format="cxcywh", units="relative")


def _object(line: str, number: int) -> Labelled:
    texts = line.split()
    try:
        label, numbers = int(float(texts[0])), [float(text) for text in texts[1:]]
    except (ValueError, OverflowError):
        raise ValueError(f"line {number} holds something else than numbers: {line[:60]!r}") from None
    is_box = len(numbers) in (BOX_NUMBERS, BOX_NUMBERS + 1)
    if not is_box and len(numbers) < POLYGON_NUMBERS:
        raise ValueError(f"line {number} must have a class and a box or a polygon, but it has {len(texts)} numbers")
    score = numbers.pop() if len(numbers) % 2 else None
    if score is not None and not 0 <= score <= 1:
        raise ValueError(f"line {number} has a confidence of {score:g}")
    for value in numbers:
        if not MIN_PART <= value <= MAX_PART or math.isnan(value):
            raise ValueError(f"line {number}: YOLO counts in parts of width and height, got {value:g}")
    return Labelled(label, {BOX if is_box else POLYGON: numbers}, score)
