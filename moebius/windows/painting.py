"""The holes of one photo, filled in rounds: first every window, then tiles over those holes that were too large."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moebius.windows.holes import CELL_PX, Box
from moebius.windows.seam import EDGE, border_colours
from moebius.windows.tiles import Band, Blend, clipped, plan_bands
from moebius.windows.window import Square, Window, cut_window, paste_window


@dataclass(frozen=True)
class SecondPass:
    """How holes that their windows showed at reduced scale are filled again.

    Args:
        size_px: side of the squares that the model sees.
        strength: of sampling, which starts from the first fill.
    """

    size_px: int
    strength: float


class Painting:
    """Rounds of windows over one photo; those of one round do not depend on each other.

    The first round holds the windows that were planned, each once for every candidate; of a window's candidates that
    with the smallest seam score is kept, and of equal ones the first. With a second pass, each hole that its window
    showed at reduced scale is filled again from there by tiles at a scale of at most 2, then by tiles at native
    resolution; where it was reduced more than fourfold, by tiles at a scale of 4 before that, and so on. The tiles of
    one round overlap and are blended.

    Args:
        image: (H, W, 3) uint8, the photo.
        mask: (H, W) bool, true = fill.
        windows: from :func:`moebius.windows.planning.plan_windows`.
        patch: the photo inside ``box``; fills are written into it, under the mask and nowhere else.
        box: surrounds the mask, its corner on the grid of cells.
        second: the second pass; ``None``: there is none.
        candidates: fills of each window of the first round, of which the best is kept; at least 1.
    """

    def __init__(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        windows: Sequence[Window],
        patch: np.ndarray,
        box: Box,
        second: SecondPass | None = None,
        candidates: int = 1,
    ) -> None:
        self._image, self._mask, self._patch, self._box = image, mask, patch, box
        self._windows, self._second, self._candidates = windows, second, candidates
        self._best: dict[int, tuple[float, int]] = {}  # by window: seam score and number of the candidate
        self._bands = deque[Band](plan_bands(windows, mask.shape, second.size_px) if second else ())
        self._band: Band | None = None
        self._blend: Blend | None = None
        self.refined_count = sum(len(band.tiles) for band in self._bands)  # windows of the second pass

    @property
    def count(self) -> int:
        """Number of windows in this round."""
        return len(self._band.tiles) if self._band else len(self._windows) * self._candidates

    @property
    def refining(self) -> SecondPass | None:
        """Return the second pass if this round belongs to it: its windows start from what is there."""
        return self._second if self._band else None

    def name(self, number: int) -> str:
        """Return the name of a window of this round, different from all others of the photo: its seed is made of it."""
        if self._band:
            return f"{self._band.pass_number}/{self._band.tiles[number].number}"
        window, candidate = divmod(number, self._candidates)
        return f"{window}/candidate/{candidate}" if candidate else f"{window}"

    def cut(self, number: int, size_px: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what the model sees of a window of this round, (size, size, 3) uint8 and (size, size) bool."""
        if self._band is None:
            return cut_window(self._image, self._mask, self._windows[number // self._candidates], size_px)
        square = self._band.tiles[number].square
        region = clipped(square, self._mask.shape)
        pixels = self._image[region.slices].copy()
        self._overlay(pixels, region)
        moved = Square(square.top - region.top, square.left - region.left, square.side_px)
        return cut_window(pixels, self._mask[region.slices], moved, size_px)

    def paste(self, number: int, filled: np.ndarray) -> None:
        """Store the fill of a window of this round, (size, size, 3) uint8."""
        if self._band is None:
            window, candidate = divmod(number, self._candidates)
            if self._candidates == 1 or self._is_best(window, candidate, filled):
                self._paste(self._windows[window], filled)
            return
        assert self._blend is not None  # advance sets both
        self._blend.add(self._band.tiles[number], filled)

    def advance(self) -> bool:
        """End a round whose windows are pasted, and begin the next that has any; false if that was the last."""
        while True:
            carried = self._end_band() if self._blend else None
            if not self._bands:
                return False
            self._band = self._bands.popleft()
            self._blend = Blend(self._band, carried if self._band.first else None)
            if self._band.tiles:
                return True

    def _end_band(self) -> np.ndarray:
        assert self._blend is not None
        picture, carried = self._blend.finish()
        if window := self._blend.band.pasted():
            self._paste(window, picture)
        self._blend = None
        return carried

    def _is_best(self, number: int, candidate: int, filled: np.ndarray) -> bool:
        """Return whether a fill is the best of those of its window so far, whatever their order, and note it if so."""
        window = self._windows[number]
        region = window.hole.grown(EDGE, self._mask.shape).on_grid(CELL_PX)
        pixels, mask = self._image[region.slices].copy(), self._mask[region.slices]
        moved = window.seen_from(region)
        paste_window(pixels, mask, moved, filled)
        part = np.zeros_like(mask)
        part[moved.hole.slices] = moved.owned(mask)
        rank = border_colours(pixels, mask, part).seam_score or 0.0, candidate
        if number in self._best and self._best[number] < rank:
            return False
        self._best[number] = rank
        return True

    def _paste(self, window: Window, filled: np.ndarray) -> None:
        paste_window(self._patch, self._mask[self._box.slices], window.seen_from(self._box), filled)

    def _overlay(self, pixels: np.ndarray, region: Box) -> None:
        """Write the fills so far into a copy of a region of the photo."""
        box = self._box
        top, left = max(region.top, box.top), max(region.left, box.left)
        bottom, right = max(min(region.bottom, box.bottom), top), max(min(region.right, box.right), left)
        part = self._patch[top - box.top : bottom - box.top, left - box.left : right - box.left]
        pixels[top - region.top : bottom - region.top, left - region.left : right - region.left] = part
