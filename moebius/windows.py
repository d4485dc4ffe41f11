"""Square windows around the holes of a photo: planned on the mask, cut for the model, pasted back at native size.

The model sees squares of one size. A hole that fits is shown at native resolution; a larger one is cut into pieces
where it is thin, and else scaled down; small ones that are near each other share a window. Where a window reaches over
the border of the photo, photo and mask are mirrored there; nothing is ever squashed.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from moebius.holes import CELL_PX, Box, Hole, find_holes

BAND_PX = 1024  # rows that are pasted at once, to bound memory


@dataclass(frozen=True)
class Window:
    """A square that is shown to the model, and the part of the mask that is pasted from it.

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
        """The same window in a part of the image that begins at a corner of the grid of cells."""
        hole = self.hole
        moved = Box(hole.top - corner.top, hole.left - corner.left, hole.bottom - corner.top, hole.right - corner.left)
        return replace(self, top=self.top - corner.top, left=self.left - corner.left, hole=moved)

    def owned(self, mask: np.ndarray) -> np.ndarray:
        """Masked pixels inside ``hole`` that this window repaints: (H, W) bool → (hole height, hole width) bool."""
        part = mask[self.hole.slices]
        cells = self.cells.repeat(CELL_PX, axis=0).repeat(CELL_PX, axis=1)
        top, left = self.hole.top % CELL_PX, self.hole.left % CELL_PX
        return part & cells[top : top + part.shape[0], left : left + part.shape[1]]


def plan_windows(mask: np.ndarray, size_px: int, context: float = 1.5, max_upscale: float = 1.0) -> list[Window]:
    """Cover every masked pixel by exactly one window.

    Args:
        mask: (H, W) bool, true = repaint.
        size_px: side of the squares that the model sees.
        context: side of a window over the longest side of its hole; a hole fits when ``context`` times its longest
            side is at most ``size_px``. Thin ones that do not are cut into pieces that do, see :mod:`moebius.holes`.
        max_upscale: how far small surroundings may be magnified; 1 never magnifies.

    Returns:
        Windows, those of large holes first; none for an empty mask.
    """
    extent = Box.around(mask)
    if extent is None:
        return []
    labels, holes = find_holes(mask, extent, size_px, context)
    least_px = math.ceil(size_px / max_upscale)
    groups = _share_windows(holes, least_px / context)
    return [_window_around(box, members, labels, mask.shape, least_px, context) for box, members in groups]


def cut_window(image: np.ndarray, mask: np.ndarray, window: Window, size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut what the model sees, scaled to its size.

    A scaled pixel counts as masked when any of its sources is, so that a hole never shows through.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) bool.
        window: from :func:`plan_windows`.
        size_px: side of the squares that the model sees.

    Returns:
        (size_px, size_px, 3) uint8 and (size_px, size_px) bool.
    """
    side = window.side_px
    if side <= size_px:
        pixels, hole = (_seen(array, window) for array in (image, mask))
        if side < size_px:
            pixels = np.asarray(Image.fromarray(pixels).resize((size_px, size_px), Image.Resampling.BICUBIC))
            nearest = np.arange(size_px) * side // size_px
            hole = hole[nearest[:, None], nearest]
        return pixels, hole
    top, left = max(window.top, 0), max(window.left, 0)
    colours: np.ndarray = image[top : top + side, left : left + side]
    hole = mask[top : top + side, left : left + side]
    starts = (min(window.top, 0), min(window.left, 0))  # as seen from the part of the photo that is there
    for axis in sorted((0, 1), key=lambda axis: -hole.shape[axis]):  # the longer one first: less in between
        colours, hole = _shrunk(colours, hole, _mirrored(starts[axis], side, hole.shape[axis]), size_px, axis)
    return np.rint(colours).astype(np.uint8), hole


def paste_window(result: np.ndarray, mask: np.ndarray, window: Window, filled: np.ndarray) -> None:
    """Write a window's fill into ``result`` in place, at native resolution, under the mask and nowhere else.

    Args:
        result: (H, W, 3) uint8, changed in place.
        mask: (H, W) bool.
        window: from :func:`plan_windows`.
        filled: (size, size, 3) uint8, the model's picture of the window.
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


def _seen(array: np.ndarray, window: Window) -> np.ndarray:
    """The part of an (H, W, …) array that a window shows, mirrored where it reaches over the border."""
    for axis, start in enumerate((window.top, window.left)):
        if start >= 0 and start + window.side_px <= array.shape[axis]:
            array = array[(slice(None),) * axis + (slice(start, start + window.side_px),)]
        else:
            array = array.take(_mirrored(start, window.side_px, array.shape[axis]), axis)
    return array


def _shrunk(
    colours: np.ndarray, hole: np.ndarray, indices: np.ndarray, bins: int, axis: int
) -> tuple[np.ndarray, np.ndarray]:
    """Bring one axis to ``bins`` equal stretches, rounded outwards so that every part of each is covered.

    Args:
        colours, hole: (H, W, 3) and (H, W) bool.
        indices: where along the axis to look, in order.

    Returns:
        Means of the colours, in float32, and whether anything is true in each stretch.
    """
    edges = np.arange(bins + 1) * len(indices)
    starts = edges[:-1] // bins
    lengths = -(-edges[1:] // bins) - starts
    along = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    sums = colours.take(indices[starts], axis).astype(np.float32)
    covered = hole.take(indices[starts], axis)
    for offset in range(1, lengths.max()):
        at = indices[starts + np.minimum(offset, lengths - 1)]
        np.add(sums, colours.take(at, axis), out=sums, where=(offset < lengths).reshape(along))
        covered |= hole.take(at, axis)
    return sums / lengths.astype(np.float32).reshape(along), covered


def _share_windows(holes: list[Hole], fits_px: float) -> list[tuple[Box, list[Hole]]]:
    """Group holes whose common bounding box still fits; first fit in reading order, large holes first and alone."""
    holes = sorted(holes, key=lambda hole: (-max(hole.box.longest_px, fits_px), hole.box.top, hole.box.left))
    edges = np.empty((len(holes), 4), dtype=np.int64)  # top, left, bottom, right of each group so far
    groups: list[list[Hole]] = []
    for hole in holes:
        box = hole.box
        known = edges[: len(groups)]
        height = np.maximum(known[:, 2], box.bottom) - np.minimum(known[:, 0], box.top)
        width = np.maximum(known[:, 3], box.right) - np.minimum(known[:, 1], box.left)
        fitting = np.flatnonzero(np.maximum(height, width) <= fits_px)
        if fitting.size:
            index = int(fitting[0])
            groups[index].append(hole)
            edges[index, :2] = np.minimum(edges[index, :2], (box.top, box.left))
            edges[index, 2:] = np.maximum(edges[index, 2:], (box.bottom, box.right))
        else:
            edges[len(groups)] = (box.top, box.left, box.bottom, box.right)
            groups.append([hole])
    return [(Box(*map(int, edges[index])), members) for index, members in enumerate(groups)]


def _window_around(
    box: Box, members: list[Hole], labels: np.ndarray, shape: tuple[int, int], least_px: int, context: float
) -> Window:
    height, width = shape
    side = min(max(least_px, math.ceil(context * box.longest_px)), max(least_px, height, width))
    rows = slice(min(member.cells[0].start for member in members), max(member.cells[0].stop for member in members))
    columns = slice(min(member.cells[1].start for member in members), max(member.cells[1].stop for member in members))
    return Window(
        top=_placed((box.top + box.bottom) // 2, side, height),
        left=_placed((box.left + box.right) // 2, side, width),
        side_px=side,
        hole=box,
        cells=np.isin(labels[rows, columns], [member.label for member in members]),
    )


def _placed(centre: int, side: int, length: int) -> int:
    """Start of a stretch of ``side`` about ``centre``, inside the image, or about the image where it is smaller."""
    return (length - side) // 2 if side > length else min(max(centre - side // 2, 0), length - side)


def _mirrored(start: int, count: int, length: int) -> np.ndarray:
    """Indices of ``count`` pixels from ``start``, mirrored at both borders as often as needed."""
    indices = np.arange(start, start + count) % (2 * length)
    return np.minimum(indices, 2 * length - 1 - indices)
