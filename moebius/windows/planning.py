"""Plans square windows around the holes of a photo.

The model sees squares of one size. A hole that fits is shown at native resolution; a larger one is cut into pieces
where it is thin, and else scaled down; small ones that are near each other share a window, as do those whose windows
would show the same part of the photo. Where a window reaches over the border of the photo, photo and mask are mirrored
there; nothing is ever squashed.
"""

import math
from typing import TypeAlias

import numpy as np

from moebius.windows.holes import Box, Hole, find_holes
from moebius.windows.window import Square, Window

Group: TypeAlias = tuple[Box, list[Hole]]  # holes that share a window, and the box around them all


def plan_windows(mask: np.ndarray, size_px: int, context: float = 1.5, max_upscale: float = 1.0) -> list[Window]:
    """Cover every masked pixel by exactly one window.

    Args:
        mask: (H, W) bool, true = fill.
        size_px: side of the squares that the model sees.
        context: side of a window over the longest side of its hole; a hole fits when ``context`` times its longest
            side is at most ``size_px``. Thin holes that do not fit are cut, see :mod:`moebius.windows.holes`.
        max_upscale: how far small surroundings may be magnified; 1 never magnifies.

    Returns:
        Windows, those of large holes first; none for an empty mask.
    """
    extent = Box.around(mask)
    if extent is None:
        return []
    labels, holes = find_holes(mask, extent, size_px, context)
    min_px = math.ceil(size_px / max_upscale)
    groups = _share_windows(holes, min_px / context)
    squares = [_square_around(box, mask.shape, min_px, context) for box, _ in groups]
    merged = _merge_nested(groups, squares, size_px)
    return [_window(square, box, members, labels) for square, box, members in merged]


def _share_windows(holes: list[Hole], fits_px: float) -> list[Group]:
    """Group holes whose common bounding box still fits: first fit in reading order, after large holes by themselves."""
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


def _square_around(box: Box, shape: tuple[int, int], min_px: int, context: float) -> Square:
    """Place the window of a group of holes, given by their common box, in an image of (height, width)."""
    height, width = shape
    side = min(max(min_px, math.ceil(context * box.longest_px)), max(min_px, height, width))
    top = placed((box.top + box.bottom) // 2, side, height)
    return Square(top, placed((box.left + box.right) // 2, side, width), side)


def _merge_nested(groups: list[Group], squares: list[Square], size_px: int) -> list[tuple[Square, Box, list[Hole]]]:
    """Merge each group into the first whose square holds its own, and shows it no smaller than native or its own does.

    Windows of one square would have the model fill the same picture once for each of them; in a photo that is no larger
    than the square, all windows are.
    """
    kept = np.empty((len(groups), 3), dtype=np.int64)  # top, left, side of each window so far
    merged: list[tuple[Square, Box, list[Hole]]] = []
    for (box, members), square in zip(groups, squares, strict=True):
        tops, lefts, sides = kept[: len(merged)].T
        holds = (tops <= square.top) & (square.top + square.side_px <= tops + sides)
        holds &= (lefts <= square.left) & (square.left + square.side_px <= lefts + sides)
        holding = np.flatnonzero(holds & (sides <= max(square.side_px, size_px)))
        if holding.size:
            index = int(holding[0])
            outer, other, others = merged[index]
            merged[index] = (outer, other.joined(box), [*others, *members])
        else:
            kept[len(merged)] = square
            merged.append((square, box, members))
    return merged


def _window(square: Square, box: Box, members: list[Hole], labels: np.ndarray) -> Window:
    rows = slice(min(member.cells[0].start for member in members), max(member.cells[0].stop for member in members))
    columns = slice(min(member.cells[1].start for member in members), max(member.cells[1].stop for member in members))
    cells = np.isin(labels[rows, columns], [member.label for member in members])
    return Window(square.top, square.left, square.side_px, box, cells)


def placed(centre: int, side: int, length: int) -> int:
    """Return the start of a stretch of ``side`` about ``centre``, inside the image, or about a smaller image."""
    return (length - side) // 2 if side > length else min(max(centre - side // 2, 0), length - side)
