"""Overlapping tiles over a hole that its window showed at reduced scale: planned, and blended.

A pass shows the hole at a scale of 1, 2, 4 … image pixels per pixel of the model. Its tiles are squares of the model's
size, evenly spaced over the hole and a margin around it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from moebius.windows.holes import CELL_PX, Box
from moebius.windows.planning import placed
from moebius.windows.window import Square, Window

STRIDE = 5 / 8  # of a tile's side, between neighbours at most
MARGIN = 1 / 8  # of a tile's side, around the hole
MAX_BAND_PX = 1 << 22  # of a pass that are blended at once, 12 bytes each, to bound memory
RESIZED_ROWS = 2  # beside a row that decide on it when the blended picture is scaled up
WEIGHT_BITS = 10  # of the weights along each axis, which are integers: their sums are the same in any order


@dataclass(frozen=True)
class Axis:
    """Places of tiles along one side of a hole.

    Args:
        origin: where they begin, in image pixels; negative where a tile reaches over the border.
        starts: of each tile, in pixels of the pass, from the origin.
        size_px: side of a tile, in pixels of the pass.
    """

    origin: int
    starts: tuple[int, ...]
    size_px: int

    @classmethod
    def over(cls, low: int, high: int, length: int, size_px: int, scale: int) -> "Axis":
        """Cover image pixels ``low`` to ``high`` of ``length`` at a scale, evenly, with as few tiles as reach."""
        margin = round(MARGIN * size_px) * scale
        begin, end = max(low - margin, 0), min(high + margin, length)
        room = -(-(end - begin) // scale) - size_px
        if room <= 0 or high - low + margin <= size_px * scale:
            return cls(placed((low + high) // 2, size_px * scale, length), (0,), size_px)
        gaps = math.ceil(room / (STRIDE * size_px))
        return cls(begin, tuple(room * number // gaps for number in range(gaps + 1)), size_px)

    @property
    def length(self) -> int:
        """Pixels of the pass that the tiles cover."""
        return self.starts[-1] + self.size_px

    @cached_property
    def weights(self) -> np.ndarray:
        """Tent-shaped weights of each tile, (tiles, size) int32; those of one place sum up to ``1 << WEIGHT_BITS``."""
        positions = np.array(self.starts)[:, None] + np.arange(self.size_px)
        tent = np.minimum(np.arange(self.size_px), np.arange(self.size_px)[::-1]) + 0.5
        total = np.bincount(positions.ravel(), np.tile(tent, len(self.starts)))
        below, weights = np.zeros(self.length), np.empty(positions.shape, np.int32)
        for number, places in enumerate(positions):  # rounded sums, so that what is rounded off is never lost
            before = np.rint(below[places] / total[places] * (1 << WEIGHT_BITS))
            below[places] += tent
            weights[number] = np.rint(below[places] / total[places] * (1 << WEIGHT_BITS)) - before
        return weights


@dataclass(frozen=True)
class Tile:
    """One tile of a band.

    Args:
        number: of the tile in its pass.
        row, column: its place along both axes.
        square: in image pixels.
    """

    number: int
    row: int
    column: int
    square: Square


@dataclass(frozen=True)
class Band:
    """Tiles that are blended together: all of a pass over one hole, or some of its rows where the hole is very large.

    Args:
        pass_number: of the pass, from 1, in its photo.
        scale: image pixels per pixel of the pass.
        window: the hole that is filled again, as the first pass had it.
        rows, columns: axes of the pass.
        first, end: rows of tiles.
        tiles: those that touch the hole.
    """

    pass_number: int
    scale: int
    window: Window
    rows: Axis
    columns: Axis
    first: int
    end: int
    tiles: tuple[Tile, ...]

    @property
    def top(self) -> int:
        """First row of the pass that the band blends."""
        return max(self.rows.starts[self.first] - 2 * RESIZED_ROWS, 0)

    @property
    def end_of_final(self) -> int:
        """First row of the pass that tiles of a later band reach."""
        return self.rows.starts[self.end] if self.end < len(self.rows.starts) else self.rows.length

    def pasted(self) -> Window | None:
        """Return the part of the hole that is done as a window that shows the final rows; ``None`` if it is empty."""
        hole, is_last = self.window.hole, self.end == len(self.rows.starts)
        begin = self.rows.origin + self.scale * max(self.rows.starts[self.first] - RESIZED_ROWS, 0)
        end = self.rows.origin + self.scale * (self.end_of_final - (0 if is_last else RESIZED_ROWS))
        part = replace(hole, top=max(hole.top, begin), bottom=min(hole.bottom, end))
        if part.top >= part.bottom:
            return None
        first = hole.top // CELL_PX
        cells = self.window.cells[part.top // CELL_PX - first : -(-part.bottom // CELL_PX) - first]
        top = self.rows.origin + self.scale * self.top
        return Window(top, self.columns.origin, self.scale * (self.end_of_final - self.top), part, cells)


def plan_bands(windows: Sequence[Window], shape: tuple[int, int], size_px: int) -> Iterator[Band]:
    """Plan the passes over all holes that their windows show at reduced scale, coarse to fine, band by band.

    Args:
        windows: of the first pass.
        shape: of the photo, (height, width).
        size_px: side of the squares that the model sees.
    """
    pass_number = 0
    for window in windows:
        for scale in _scales(window.side_px / size_px):
            pass_number += 1
            yield from _bands(window, shape, size_px, scale, pass_number)


def _scales(reduced: float) -> list[int]:
    """Return the scales of the passes after one at a reduced scale: powers of 2 below it, down to 1."""
    return [1 << power for power in reversed(range(math.ceil(math.log2(reduced))))] if reduced > 1 else []


def _bands(window: Window, shape: tuple[int, int], size_px: int, scale: int, pass_number: int) -> Iterator[Band]:
    hole = window.hole
    rows = Axis.over(hole.top, hole.bottom, shape[0], size_px, scale)
    columns = Axis.over(hole.left, hole.right, shape[1], size_px, scale)
    first, done = 0, 0
    for end in range(1, len(rows.starts) + 1):
        next_px = rows.starts[min(end, len(rows.starts) - 1)] + size_px - rows.starts[first]
        if end < len(rows.starts) and next_px * columns.length <= MAX_BAND_PX:
            continue
        squares = [
            (row, column, Square(rows.origin + scale * top, columns.origin + scale * left, scale * size_px))
            for row, top in enumerate(rows.starts[first:end], start=first)
            for column, left in enumerate(columns.starts)
        ]
        touching = [place for place in squares if _touches(window, place[2])]
        tiles = tuple(Tile(number, *place) for number, place in enumerate(touching, start=done))
        yield Band(pass_number, scale, window, rows, columns, first, end, tiles)
        first, done = end, done + len(tiles)


def _touches(window: Window, square: Square) -> bool:
    """Return whether cells of the hole lie in a square."""
    spans = []
    for start, low in ((square.top, window.hole.top), (square.left, window.hole.left)):
        first = low // CELL_PX
        spans.append(slice(max(start // CELL_PX - first, 0), max(-(-(start + square.side_px) // CELL_PX) - first, 0)))
    return bool(window.cells[tuple(spans)].any())


class Blend:
    """The weighted sum of the tiles of a band, whatever their order; what later bands reach is carried on to them."""

    def __init__(self, band: Band, carried: np.ndarray | None = None) -> None:
        """Begin with what :meth:`finish` of the band before has returned, if there is one."""
        self.band = band
        height = band.rows.starts[band.end - 1] + band.rows.size_px - band.top
        self._sums = np.zeros((height, band.columns.length, 3), np.int32)
        if carried is not None:
            self._sums[: len(carried)] = carried

    def add(self, tile: Tile, filled: np.ndarray) -> None:
        """Add the model's picture of a tile, (size, size, 3) uint8."""
        rows, columns = self.band.rows, self.band.columns
        top, left = rows.starts[tile.row] - self.band.top, columns.starts[tile.column]
        weights = rows.weights[tile.row][:, None] * columns.weights[tile.column]
        self._sums[top : top + len(filled), left : left + len(filled)] += weights[..., None] * filled

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the final rows, (rows, columns, 3) uint8, and the sums that the next band begins with."""
        end = self.band.end_of_final - self.band.top
        final, carried = self._sums[:end], self._sums[max(end - 2 * RESIZED_ROWS, 0) :]
        return ((final + (1 << 2 * WEIGHT_BITS - 1)) >> 2 * WEIGHT_BITS).astype(np.uint8), carried


def clipped(square: Square, shape: tuple[int, int]) -> Box:
    """Return the part of a square that lies inside an image of (height, width)."""
    whole = Box(square.top, square.left, square.top + square.side_px, square.left + square.side_px)
    return Box(max(whole.top, 0), max(whole.left, 0), min(whole.bottom, shape[0]), min(whole.right, shape[1]))
