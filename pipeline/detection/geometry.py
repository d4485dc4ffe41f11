"""Puts photos into the input of a model, and brings what it finds there back."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

GREY = 114  # of the border around a photo, the value that YOLO models were trained with
ROWS_AT_ONCE = 1024
TILE_OVERLAP = 0.25  # of a tile's side, so that objects up to that size are whole in one of two neighbours


@dataclass(frozen=True)
class Placement:
    """Where a photo lies in a model's input.

    Args:
        photo: (width, height) in pixels.
        size: of the input.
        left, top, width, height: of the scaled photo in it, in pixels.
    """

    photo: tuple[int, int]
    size: tuple[int, int]
    left: int
    top: int
    width: int
    height: int

    @classmethod
    def of(cls, photo: tuple[int, int], size: tuple[int, int], fit: str) -> "Placement":
        """Place a photo: ``stretch`` fills the input; ``letterbox`` keeps its proportions, in the middle."""
        if fit == "stretch":
            return cls(photo, size, 0, 0, *size)
        scale = min(size[0] / photo[0], size[1] / photo[1])
        width, height = (max(1, round(side * scale)) for side in photo)
        return cls(photo, size, (size[0] - width) // 2, (size[1] - height) // 2, width, height)

    def put(self, rgb: np.ndarray) -> np.ndarray:
        """Return the input, (height, width, 3) uint8, with the photo, (H, W, 3) uint8, in its place."""
        whole = np.full((self.size[1], self.size[0], 3), GREY, np.uint8)
        scaled = Image.fromarray(np.ascontiguousarray(rgb)).resize((self.width, self.height), Image.Resampling.BILINEAR)
        whole[self.top : self.top + self.height, self.left : self.left + self.width] = np.asarray(scaled)
        return whole

    def boxes_of_photo(self, boxes: np.ndarray) -> np.ndarray:
        """Return boxes, (N, 4) left, top, right, bottom of the input, in pixels of the photo, cut at its border."""
        start = np.array([self.left, self.top] * 2)
        scale = np.array([self.photo[0] / self.width, self.photo[1] / self.height] * 2)
        return np.clip((boxes - start) * scale, 0, np.array([*self.photo, *self.photo]))

    def pixels_of_photo(self, chances: np.ndarray, least: float) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield bands of the photo: their rows, and where the chance is high enough, (rows, W) bool.

        Args:
            chances: (h, w) float32, over the whole input.
            least: chance from which a pixel counts.
        """
        columns, rows = chances.shape[1] / self.size[0], chances.shape[0] / self.size[1]
        left, right = self.left * columns, (self.left + self.width) * columns
        source, (width, height) = Image.fromarray(chances), self.photo
        for start in range(0, height, ROWS_AT_ONCE):
            end = min(start + ROWS_AT_ONCE, height)
            upper, lower = ((self.top + self.height * row / height) * rows for row in (start, end))
            box = (left, upper, min(right, source.width), min(lower, source.height))
            band = source.resize((width, end - start), Image.Resampling.BILINEAR, box=box)
            yield slice(start, end), np.asarray(band) >= least


def tiles(photo: tuple[int, int], tile_px: int) -> list[tuple[int, int, int, int]]:
    """Return left, top, right, bottom of overlapping tiles that cover a photo; one tile for 0.

    Args:
        photo: (width, height).
        tile_px: side of a tile.
    """
    if not tile_px:
        return [(0, 0, *photo)]
    columns, rows = (_starts(side, tile_px) for side in photo)
    width, height = (min(tile_px, side) for side in photo)
    return [(left, top, left + width, top + height) for top in rows for left in columns]


def _starts(side: int, tile_px: int) -> list[int]:
    """Return where tiles start along a side: evenly spread, overlapping by at least ``TILE_OVERLAP``."""
    if side <= tile_px:
        return [0]
    count = 1 + int(np.ceil((side - tile_px) / (tile_px * (1 - TILE_OVERLAP))))
    return [int(start) for start in np.linspace(0, side - tile_px, count).round()]


def draw_boxes(canvas: np.ndarray, boxes: np.ndarray) -> None:
    """Set every pixel that a box touches.

    Args:
        canvas: (H, W) bool.
        boxes: (N, 4) left, top, right, bottom, finite; parts outside are cut off.
    """
    sides = np.array(canvas.shape[::-1])
    starts = np.clip(np.floor(boxes[:, :2]), 0, sides).astype(int)
    ends = np.clip(np.ceil(boxes[:, 2:]), 0, sides).astype(int)
    for (left, top), (right, bottom) in zip(starts, ends, strict=True):
        canvas[top:bottom, left:right] = True
