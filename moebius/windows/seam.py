"""The border of a fill: how visible the step from the photo to the fill is, without ground truth."""

from typing import NamedTuple

import numpy as np

from moebius.windows.holes import Box

EDGE = 2  # pixels outside the hole that are looked at


class BorderColours(NamedTuple):
    """Colours across a border, (N, 3) int16 each: one row per place where a pixel of the hole has two beside it.

    Args:
        within: the outermost pixel of the hole.
        near: its neighbour outside.
        far: the next one.
    """

    within: np.ndarray
    near: np.ndarray
    far: np.ndarray

    @property
    def seam_score(self) -> float | None:
        """Mean colour step across the border, less the mean step just outside it, in grey levels, -255 … 255.

        About 0 where a fill continues the photo around it; larger values mean a more visible seam. ``None`` where no
        border has two pixels outside it.
        """
        if not len(self.within):
            return None
        return float((np.abs(self.within - self.near) - np.abs(self.near - self.far)).mean())


def border_colours(pixels: np.ndarray, mask: np.ndarray, part: np.ndarray | None = None) -> BorderColours:
    """Return the colours across the border of a fill.

    Args:
        pixels: (H, W, 3) uint8, the result.
        mask: (H, W) bool, all that was filled: none of it is outside.
        part: (H, W) bool, the part of the mask whose border is looked at; ``None``: all of it.
    """
    filled = mask if part is None else part
    hole = Box.around(filled)
    if hole is None:
        return BorderColours(*np.empty((3, 0, 3), np.int16))
    region = hole.grown(EDGE, mask.shape).slices
    filled, mask, colours = filled[region], mask[region], pixels[region].reshape(-1, 3)
    width = mask.shape[1]
    # With a rim that is neither inside nor outside, so that no step along the flat arrays meets another row.
    inside, outside = np.pad(filled, EDGE).ravel(), np.pad(~mask, EDGE).ravel()
    steps, positions = [], []
    for padded_step, step in ((1, 1), (width + 2 * EDGE, width)):  # to the right, and down
        first, last = slice(None, -2 * padded_step), slice(2 * padded_step, None)
        near = outside[padded_step:-padded_step]
        for start, border, outwards in (
            (0, inside[first] & near & outside[last], step),
            (2 * padded_step, inside[last] & near & outside[first], -step),
        ):
            rows, columns = np.divmod(np.flatnonzero(border) + start, width + 2 * EDGE)
            positions.append((rows - EDGE) * width + columns - EDGE)
            steps.append(np.full(rows.size, outwards))
    position, outwards = np.concatenate(positions), np.concatenate(steps)
    return BorderColours(*(colours[position + offset * outwards].astype(np.int16) for offset in range(3)))
