"""Cuts windows of a photo for the model, and pastes them back at native size."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from PIL import Image

from moebius.windows.holes import CELL_PX, Box
from moebius.windows.scaling import magnify, mirrored_square, shrink_square

BAND_PX = 1024  # rows that are pasted at once, to bound memory


class Square(NamedTuple):
    """Square in image pixels; its corner is negative where it reaches over the border."""

    top: int
    left: int
    side_px: int


@dataclass(frozen=True)
class Window:
    """Square that is shown to the model, and the part of the mask that is pasted from it.

    Args:
        top, left: corner in image pixels; negative where the square reaches over the border.
        side_px: side in image pixels.
        hole: bounding box of the part; always inside the square.
        cells: (rows, columns) bool: which of the cells that ``hole`` touches hold pixels of this window.
    """

    top: int
    left: int
    side_px: int
    hole: Box
    cells: np.ndarray

    def seen_from(self, corner: Box) -> "Window":
        """Return the same window in a part of the image that begins at a corner of the grid of cells."""
        hole = self.hole
        moved = Box(hole.top - corner.top, hole.left - corner.left, hole.bottom - corner.top, hole.right - corner.left)
        return replace(self, top=self.top - corner.top, left=self.left - corner.left, hole=moved)

    def owned(self, mask: np.ndarray) -> np.ndarray:
        """Return the pixels inside ``hole`` that this window repaints: (H, W) bool → (hole height, hole width) bool."""
        part = mask[self.hole.slices]
        cells = self.cells.repeat(CELL_PX, axis=0).repeat(CELL_PX, axis=1)
        top, left = self.hole.top % CELL_PX, self.hole.left % CELL_PX
        return part & cells[top : top + part.shape[0], left : left + part.shape[1]]


def cut_window(
    image: np.ndarray, mask: np.ndarray, window: Window | Square, size_px: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cut the square that the model sees, scaled to its size.

    A pixel that is scaled down counts as masked when any of its sources is; before pixels are scaled up, colours are
    spread over the hole. So nothing under the mask ever shows outside of it.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) bool.
        window: from :func:`moebius.windows.planning.plan_windows`, or any square.
        size_px: side of the squares that the model sees.

    Returns:
        (size_px, size_px, 3) uint8 and (size_px, size_px) bool.
    """
    if window.side_px <= size_px:
        pixels, hole = (mirrored_square(array, window.top, window.left, window.side_px) for array in (image, mask))
        return (pixels, hole) if window.side_px == size_px else magnify(pixels, hole, size_px)
    return shrink_square(image, mask, window.top, window.left, window.side_px, size_px)


def paste_window(result: np.ndarray, mask: np.ndarray, window: Window, filled: np.ndarray) -> None:
    """Write a window's fill into ``result`` in place, at native resolution, under the mask and nowhere else.

    Args:
        result: (H, W, 3) uint8, changed in place.
        mask: (H, W) bool.
        window: from :func:`moebius.windows.planning.plan_windows`.
        filled: (size, size, 3) uint8, the model's picture of the window; it may be wider or narrower than high.
    """
    hole, scale = window.hole, filled.shape[0] / window.side_px
    owned = window.owned(mask)
    if scale == 1:
        part = filled[hole.top - window.top : hole.bottom - window.top, hole.left - window.left :]
        np.copyto(result[hole.slices], part[:, : hole.right - hole.left], where=owned[..., None].repeat(3, axis=2))
        return
    picture = Image.fromarray(filled)
    left, right = scale * (hole.left - window.left), scale * (hole.right - window.left)
    for top in range(hole.top, hole.bottom, BAND_PX):
        bottom = min(top + BAND_PX, hole.bottom)
        region = (left, scale * (top - window.top), right, scale * (bottom - window.top))
        patch = picture.resize((hole.right - hole.left, bottom - top), Image.Resampling.BICUBIC, box=region)
        band = owned[top - hole.top : bottom - hole.top, :, None]
        np.copyto(result[top:bottom, hole.left : hole.right], np.asarray(patch), where=band)
