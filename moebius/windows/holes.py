"""Holes of a mask: connected pixels, with long thin holes cut into pieces.

A line of letters, a wire or a scratch may be longer than any window, yet each of its pixels is near others that are
known. Scaled down as one hole it would be filled with blur; its pieces are seen at native resolution.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import ndimage

CELL_PX = 8  # holes are told apart on a grid of cells: nearer than one cell means one hole
THIN_SHARE = 1 / 8  # of a window's side: the thickness up to which a hole is cut
NEIGHBOURS = np.ones((3, 3), bool)


@dataclass(frozen=True)
class Box:
    """Half-open rectangle in image pixels."""

    top: int
    left: int
    bottom: int
    right: int

    @classmethod
    def around(cls, mask: np.ndarray) -> "Box | None":
        """Return the smallest rectangle that holds every true pixel of an (H, W) bool array; ``None`` without any."""
        rows = np.flatnonzero(mask.any(axis=1))
        if rows.size == 0:
            return None
        columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
        return cls(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)

    def grown(self, margin_px: int, shape: tuple[int, ...]) -> "Box":
        """Return the rectangle with a margin on every side, clipped to an image of (height, width, …)."""
        return Box(
            max(self.top - margin_px, 0),
            max(self.left - margin_px, 0),
            min(self.bottom + margin_px, shape[0]),
            min(self.right + margin_px, shape[1]),
        )

    def joined(self, other: "Box") -> "Box":
        """Return the smallest rectangle that holds both."""
        return Box(
            min(self.top, other.top),
            min(self.left, other.left),
            max(self.bottom, other.bottom),
            max(self.right, other.right),
        )

    def on_grid(self, step_px: int) -> "Box":
        """Return the rectangle with its upper left corner moved outwards onto a grid."""
        return replace(self, top=self.top - self.top % step_px, left=self.left - self.left % step_px)

    @property
    def longest_px(self) -> int:
        """Longer of both sides."""
        return max(self.bottom - self.top, self.right - self.left)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the rectangle in an (H, W, …) array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


class Hole(NamedTuple):
    """Connected masked pixels, or a piece of them.

    Args:
        box: bounding box, to the pixel.
        cells: rows and columns of the grid that hold them.
        label: label of their cells in the grid.
    """

    box: Box
    cells: tuple[slice, ...]
    label: int


def find_holes(mask: np.ndarray, extent: Box, size_px: int, context: float) -> tuple[np.ndarray, list[Hole]]:
    """Label holes, and cut the thin parts of those that are too long for a window at native resolution.

    Args:
        mask: (H, W) bool, true = fill.
        extent: bounding box of the mask.
        size_px: side of the squares that the model sees.
        context: side of a window over the longest side of its hole.

    Returns:
        (rows, columns) int, the label of each cell of the grid, 0 where nothing is masked; and the holes.
    """
    labels, count = ndimage.label(_any_in_cells(mask, extent), structure=NEIGHBOURS)
    longest_px = size_px / context if max(mask.shape) > size_px else max(mask.shape)
    thick, longest = (max(1, int(length) // CELL_PX) for length in (THIN_SHARE * size_px, longest_px))
    for label, slices in enumerate(ndimage.find_objects(labels), start=1):
        may_be_long = max(labels[slices].shape) * CELL_PX > longest_px
        if may_be_long and _tight_box(mask, labels, label, slices).longest_px > longest_px:
            count = _cut_arms(labels[slices], label, count, _all_in_cells(mask, slices), thick, longest)
    found = enumerate(ndimage.find_objects(labels), start=1)
    return labels, [Hole(_tight_box(mask, labels, label, slices), slices, label) for label, slices in found if slices]


def _cut_arms(labels: np.ndarray, label: int, count: int, whole: np.ndarray, thick: int, longest: int) -> int:
    """Label the long thin parts of a hole anew in pieces, and the connected parts of the rest, in place.

    Args:
        labels: the cells around the hole.
        label: label of the hole.
        count: number of labels in use.
        whole: bool like ``labels``: cells that are masked completely.
        thick: side of a square of whole cells that nothing thin can hold.
        longest: side of the largest piece, in cells.

    Returns:
        Number of labels in use now.
    """
    hole = labels == label
    core = ndimage.binary_opening(hole & whole, np.ones((thick, thick), bool))
    core = ndimage.binary_dilation(core, NEIGHBOURS, mask=hole)  # the cells at its border are not whole
    arms, _ = ndimage.label(hole & ~core, structure=NEIGHBOURS)
    for arm, slices in enumerate(ndimage.find_objects(arms), start=1):
        part = arms[slices]
        if max(part.shape) > longest:
            numbers = _pieces(part == arm, longest)
            labels[slices][part == arm] = count + numbers
            count += int(numbers.max())
    rest, parts = ndimage.label(labels == label, structure=NEIGHBOURS)
    labels[rest > 0] = count + rest[rest > 0]
    return count + parts


def _pieces(cells: np.ndarray, longest: int) -> np.ndarray:
    """Cut cells by a grid of equal parts, as few as have ``longest`` cells a side: (N,) from 1, of the N true cells."""
    positions = np.nonzero(cells)
    parts = [-(-side // longest) for side in cells.shape]
    down, across = (at * count // side for at, count, side in zip(positions, parts, cells.shape, strict=True))
    return np.unique(down * parts[1] + across, return_inverse=True)[1] + 1


def _any_in_cells(mask: np.ndarray, extent: Box) -> np.ndarray:
    """Return which cells of the grid hold a masked pixel; nothing is masked outside ``extent``."""
    cells = np.zeros([-(-side // CELL_PX) for side in mask.shape], dtype=bool)
    top, left = extent.top // CELL_PX, extent.left // CELL_PX
    part = _by_cell(np.logical_or, mask[top * CELL_PX : extent.bottom, left * CELL_PX : extent.right])
    cells[top : top + part.shape[0], left : left + part.shape[1]] = part
    return cells


def _all_in_cells(mask: np.ndarray, slices: tuple[slice, ...]) -> np.ndarray:
    """Return which of these cells are masked completely."""
    rows, columns = (slice(part.start * CELL_PX, part.stop * CELL_PX) for part in slices)
    return _by_cell(np.logical_and, mask[rows, columns])


def _by_cell(combine: np.ufunc, part: np.ndarray) -> np.ndarray:
    """Combine the pixels of each cell, from a corner of the grid on, into one value."""
    for axis in (0, 1):
        part = combine.reduceat(part, np.arange(0, part.shape[axis], CELL_PX), axis=axis)
    return part


def _tight_box(mask: np.ndarray, labels: np.ndarray, label: int, slices: tuple[slice, ...]) -> Box:
    """Bounding box, to the pixel, of one labelled hole."""
    top, left = slices[0].start * CELL_PX, slices[1].start * CELL_PX
    part = mask[top : slices[0].stop * CELL_PX, left : slices[1].stop * CELL_PX]
    cells = (labels[slices] == label).repeat(CELL_PX, axis=0).repeat(CELL_PX, axis=1)
    box = Box.around(part & cells[: part.shape[0], : part.shape[1]])
    assert box is not None  # a label has pixels
    return Box(top + box.top, left + box.left, top + box.bottom, left + box.right)
