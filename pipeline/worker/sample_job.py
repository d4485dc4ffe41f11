"""One try of a sample: its pixels, its hole, and the windows that the model fills."""

from dataclasses import dataclass, field
from functools import reduce

import numpy as np

from moebius.windows import CELL_PX, Box, Window
from moebius.windows.painting import Painting, SecondPass
from moebius.windows.seam import EDGE
from pipeline.codecs.photo import Photo
from pipeline.errors import SampleError
from pipeline.records import Record
from pipeline.worker.seam import Border
from pipeline.worker.window_queue import Kind

ROWS_AT_ONCE = 256


@dataclass
class SampleJob:
    """A decoded sample and its windows.

    Args:
        record: its manifest row so far.
        source: the compressed input, which an empty mask passes through.
        photo, mask: what was decoded.
        seen: (H, W, 3) uint8, the photo as RGB for the model.
        box: surrounds the mask, on the grid of cells; ``None`` for an empty mask.
        patch: copy of ``seen`` inside the box; fills are written into it.
        windows: of the first round; empty for a sample without a hole.
        seed: decides the noise of all windows, with the name of each.
        strength: at which those of the first round are sampled; ``None``: as configured.
        candidates: fills of each window of the first round, of which the best is kept.
        second: further rounds over large holes; ``None``: there are none.
        computed: (H, W) bool, pixels of ``photo`` that differ from the source, see
            :class:`pipeline.masks.drawn.DrawnMask`; ``None`` for none.
        rungs: how many rungs of ``verify.ladder`` led to this try.
        best: the best of the earlier tries.
        residual, found, border: what was seen of this try, see :class:`pipeline.worker.ladder.Ladder`.
    """

    record: Record
    source: bytes
    photo: Photo
    mask: np.ndarray
    seen: np.ndarray
    windows: list[Window]
    seed: int
    strength: float | None = None
    candidates: int = 1
    second: SecondPass | None = None
    computed: np.ndarray | None = None
    rungs: int = 0
    best: "SampleJob | None" = None
    residual: float = 0.0
    found: np.ndarray | None = None
    border: Border | None = None
    box: Box | None = None
    patch: np.ndarray = field(default_factory=lambda: np.empty((0, 0, 3), np.uint8))

    def __post_init__(self) -> None:
        hole = Box.around(self.mask)
        if hole:
            self.box = hole.grown(EDGE, self.mask.shape).on_grid(CELL_PX)
            self.patch = self.seen[self.box.slices].copy()
        box = self.box or Box(0, 0, 0, 0)
        self._painting = Painting(self.seen, self.mask, self.windows, self.patch, box, self.second, self.candidates)
        self.refined_count = self._painting.refined_count  # windows of the second pass
        self.window_count = self._painting.count + self.refined_count  # of all rounds

    @property
    def changed(self) -> np.ndarray:
        """Return the pixels that may differ from the source, (H, W) bool."""
        return self.mask if self.computed is None else self.mask | self.computed

    @property
    def inside(self) -> tuple[slice, slice]:
        """Return rows and columns of the box."""
        assert self.box is not None  # there is a window
        return self.box.slices

    @property
    def count(self) -> int:
        """Number of windows of this round."""
        return self._painting.count

    @property
    def kind(self) -> Kind:
        """Strength and start of the windows of this round."""
        second = self._painting.refining
        return (second.strength, "photo") if second else (self.strength, None)

    def name(self, number: int) -> str:
        """Return the name of a window of this round, which with the sample's seed makes the window's seed."""
        return self._painting.name(number)

    def cut(self, number: int, size_px: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the model's input for one window of this round; it does not depend on other windows of the round."""
        return self._painting.cut(number, size_px)

    def paste(self, number: int, filled: np.ndarray) -> None:
        """Store one fill of this round."""
        self._painting.paste(number, filled)

    def advance(self) -> bool:
        """End a round whose fills are stored, and begin the next; false if there is none."""
        return self._painting.advance()

    def composite(self) -> np.ndarray:
        """Return the photo's pixels with all fills, and record ``outside_max_diff``.

        Raises:
            SampleError: a pixel outside the mask has changed.
        """
        self.record.outside_max_diff = 0
        if self.box is None:
            return self.photo.pixels
        inside, mask = self.box.slices, self.mask[self.box.slices]
        before = self.photo.pixels[inside].copy()
        pixels = self.photo.repaint(self.patch, mask, self.box)  # writes nowhere else
        self.record.outside_max_diff = largest = outside_max_diff(before, pixels[inside], mask)
        refuse_change(largest)
        return pixels


def refuse_change(largest: int) -> None:
    """Raise ``SampleError`` where a pixel outside the mask has changed."""
    if largest:
        raise SampleError("inpaint", "OutsideChanged", f"a pixel outside the mask changed by {largest}")


def outside_max_diff(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> int:
    """Return the largest change of any value outside the mask; arrays (H, W[, bands]), mask (H, W) bool."""
    largest, width = 0, mask.shape[1]
    for top in range(0, len(mask), ROWS_AT_ONCE):
        band = slice(top, top + ROWS_AT_ONCE)
        differing = _words(before[band]) != _words(after[band])
        box = Box.around(differing)  # a small part of the photo, and of most bands nothing
        if box is None:
            continue
        first, end = box.left * width // differing.shape[1], -(-box.right * width // differing.shape[1])
        part = slice(top + box.top, top + box.bottom), slice(first, end)
        old, new = before[part], after[part]
        changed = old != new
        if changed.ndim == 3:
            changed = reduce(np.logical_or, np.moveaxis(changed, 2, 0))  # any(axis=2) is ten times slower
        outside = changed & ~mask[part]
        if outside.any():
            difference = old[outside].astype(np.int32) - new[outside]
            largest = max(largest, int(np.abs(difference).max()))
    return largest


def _words(rows: np.ndarray) -> np.ndarray:
    """View rows as 64-bit words if their length allows it, for an eighth of the comparisons."""
    flat = np.ascontiguousarray(rows).reshape(len(rows), -1)
    return flat.view(np.uint64) if flat.shape[1] * flat.itemsize % 8 == 0 else flat
