"""Draws boxes, polygons and run-length encodings into one mask."""

import math
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

FARTHEST_PX = 10_000_000  # of a coordinate; anything beyond is a broken annotation
SLACK_PX, SLACK_FRACTION = 2.0, 0.01  # by which polygons may lie outside the picture, in pixels or of its side
MIN_AREA_PX = 1e-6  # of a polygon
MAX_RELATIVE = 1.5  # of a coordinate that is a part of a side; a box may lie over the border
RELATIVE_SLACK = 0.25  # by so much it does where coordinates are taken for parts unasked


class Canvas:
    """A mask to draw shapes on; shapes without an area add nothing.

    Args:
        shape: height and width.
        if_turned: advice if the shapes fit only with the sides swapped; empty if that is impossible.
    """

    def __init__(self, shape: tuple[int, int], if_turned: str = "") -> None:
        self.shape, self.if_turned = shape, if_turned
        self._image = Image.new("1", (shape[1], shape[0]))
        self._draw = ImageDraw.Draw(self._image)
        self._columns: np.ndarray | None = None  # (W, H) of run lengths

    def mask(self) -> np.ndarray:
        """The pixels covered by shapes, (H, W) bool."""
        drawn = np.asarray(self._image)
        return drawn if self._columns is None else drawn | self._columns.T

    def add_box(self, box: list[float], box_format: str, units: str) -> None:
        """Add every pixel that a box touches; parts outside the picture are cut off.

        Args:
            box: four numbers.
            box_format: ``xyxy``, ``xywh`` or ``cxcywh``.
            units: ``pixel`` or ``relative``.

        Raises:
            ValueError: no such box, one in other units, or none of it in the picture.
        """
        height, width = self.shape
        left, top, right, bottom = numbers = [_coordinate(value) for value in box]
        if units == "relative" and max(map(abs, numbers)) > MAX_RELATIVE:
            raise ValueError(f"box {box} is not in parts of width and height; mask.box_units=pixel takes pixels")
        if units == "pixel" and _is_relative(box):
            raise ValueError(
                f"box {box} is no larger than a pixel; mask.box_units=relative takes parts of width and height"
            )
        if box_format == "xywh":
            right, bottom = left + right, top + bottom
        elif box_format == "cxcywh":
            left, top, right, bottom = left - right / 2, top - bottom / 2, left + right / 2, top + bottom / 2
        if units == "relative":
            left, right, top, bottom = left * width, right * width, top * height, bottom * height
        if right < left or bottom < top:
            raise ValueError(f"box {box} ends before it starts; mask.box_format is {box_format}")
        if right == left or bottom == top:
            return
        if right <= 0 or bottom <= 0 or left >= width or top >= height or self._fits_turned(right, bottom):
            raise ValueError(f"box {box} is outside the picture{self._size_and_advice()}")
        self._draw.rectangle((math.floor(left), math.floor(top), math.ceil(right) - 1, math.ceil(bottom) - 1), fill=1)

    def add_pixels(self, pixels: np.ndarray, left: int, top: int) -> None:
        """Add a small mask; parts outside the picture are cut off.

        Args:
            pixels: (h, w) bool.
            left, top: where its first pixel lies.
        """
        there = self._set_pixels()[
            max(0, left) : max(0, left + pixels.shape[1]), max(0, top) : max(0, top + pixels.shape[0])
        ]
        there |= pixels[max(0, -top) :, max(0, -left) :][: there.shape[1], : there.shape[0]].T

    def add_segment(self, segment: Any) -> None:
        """Add polygons, a run-length encoding or, without both, a box of COCO.

        Raises:
            ValueError, TypeError, KeyError: none of these, or outside the picture.
        """
        if isinstance(segment, dict) and "bbox" in segment:
            box = segment["bbox"]
            if box and _is_relative(box):
                raise ValueError(f"box {box} is no larger than a pixel; COCO counts in pixels")
            if box:  # an annotation may have no shape
                self.add_box(box, "xywh", "pixel")
        elif isinstance(segment, dict):
            self._add_run_lengths(segment)
        elif segment and all(isinstance(value, int | float) for value in segment):
            self.add_polygon(segment)  # one without the list around it
        elif isinstance(segment, str):
            raise ValueError(f"segmentation {segment[:20]!r} is not a list of polygons")
        else:
            for polygon in segment:
                self.add_polygon(polygon)

    def add_polygon(self, polygon: list[float], units: str = "pixel") -> None:
        """Add a polygon with its border.

        Args:
            polygon: x and y of each corner.
            units: ``pixel`` or ``relative``.

        Raises:
            ValueError: no polygon, one in other units, or outside the picture.
        """
        if isinstance(polygon, str):
            raise ValueError(f"polygon {polygon[:20]!r} is not a list of numbers")
        numbers = [_coordinate(value) for value in polygon]
        if len(numbers) % 2:
            raise ValueError(f"a polygon has {len(numbers)} numbers, an odd count")
        if units == "relative":
            if max(map(abs, numbers), default=0) > MAX_RELATIVE:
                raise ValueError("a polygon is not in parts of width and height")
            numbers = [value * self.shape[(index + 1) % 2] for index, value in enumerate(numbers)]
        if _is_line(numbers):
            return
        if units == "pixel" and _is_relative(polygon):
            raise ValueError("a polygon is no larger than a pixel, but its coordinates must be in pixels")
        for values, side in ((numbers[::2], self.shape[1]), (numbers[1::2], self.shape[0])):
            if min(values) < -_slack(side) or max(values) > side + _slack(side):
                raise ValueError(
                    f"a polygon reaches to {max(numbers[::2]):g}, {max(numbers[1::2]):g} from {min(numbers[::2]):g}, "
                    f"{min(numbers[1::2]):g}, outside the picture{self._size_and_advice()}"
                )
        points = [value - 0.5 for value in numbers]  # pixels have their centres at half a pixel
        self._draw.polygon(points, fill=1, outline=1)  # rather a pixel more than the object's rim

    def _set_pixels(self) -> np.ndarray:
        """Return the pixels that are not drawn but set, (W, H) bool, as run lengths have them."""
        if self._columns is None:
            self._columns = np.zeros(self.shape[::-1], bool)
        return self._columns

    def _fits_turned(self, right: float, bottom: float) -> bool:
        """Return whether a box that exceeds the picture would fit with the picture's sides swapped."""
        ends, (height, width) = (bottom, right), self.shape
        is_inside, would_be = (
            all(end <= side + _slack(side) for end, side in zip(ends, sides, strict=True))
            for sides in ((height, width), (width, height))
        )
        return bool(self.if_turned) and would_be and not is_inside

    def _size_and_advice(self) -> str:
        advice = self.if_turned or "was it annotated at another size?"
        return f" of {self.shape[1]}x{self.shape[0]} pixels; {advice}"

    def _add_run_lengths(self, segment: dict[str, Any]) -> None:
        height, width = self.shape
        if not segment.keys() >= {"counts", "size"}:
            raise ValueError(f"a segmentation needs counts and size, got {', '.join(segment) or 'neither'}")
        counts = segment["counts"]
        runs = np.array(_unpacked(counts) if isinstance(counts, str) else counts, np.int64)
        if tuple(segment["size"]) != self.shape or (runs < 0).any() or runs.sum() != height * width:
            raise ValueError(f"the run lengths do not fill {width}x{height} pixels")
        flat, ends = self._set_pixels().reshape(-1), np.cumsum(runs)
        for start, end in zip(ends[::2].tolist(), ends[1::2].tolist(), strict=False):
            flat[start:end] = True


def _slack(side: int) -> float:
    return max(SLACK_PX, SLACK_FRACTION * side)


def _is_line(numbers: list[float]) -> bool:
    """Return whether a polygon is degenerate: a point or a straight line."""
    points = np.reshape(numbers, (-1, 2)) - numbers[:2] if numbers else np.zeros((1, 2))
    farthest = points[np.abs(points).sum(axis=1).argmax()]
    return bool((np.abs(points[:, 0] * farthest[1] - points[:, 1] * farthest[0]) <= MIN_AREA_PX).all())


def _coordinate(value: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{str(value)[:40]!r} is not a coordinate") from None
    if not abs(number) <= FARTHEST_PX:  # not a number, infinite, or absurd
        raise ValueError(f"{value} is not a coordinate")
    return number


def _is_relative(values: list[float]) -> bool:
    """Return whether numbers look relative to the size: from about 0 to about 1, and not all integers."""
    numbers = [_coordinate(value) for value in values]
    is_small = min(numbers) >= -RELATIVE_SLACK and 0 < max(numbers) <= 1 + RELATIVE_SLACK
    return is_small and any(not isinstance(value, int) for value in values)


def _unpacked(counts: str) -> list[int]:
    """Decode COCO's compressed run lengths: 5 bits per character, later ones relative to the second last."""
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError("the run lengths hold invalid characters")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs
