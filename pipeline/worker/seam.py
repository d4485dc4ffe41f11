"""Quality signals from the border of a fill, without ground truth."""

from dataclasses import dataclass

import numpy as np

from moebius.windows import Box

EDGE = 2  # pixels outside the hole that are looked at
FLAT, SATURATED = "flat", "saturated"
MIN_BORDER = 16  # steps; a smaller border may well have one colour
ONE_COLOUR = 4  # grey levels between the darkest and the brightest
SEVERAL_COLOURS = 8.0  # grey levels of standard deviation


@dataclass(frozen=True)
class Border:
    """Measurements along the border of the mask.

    Args:
        seam_score: mean colour step across the mask's border, less the mean step between the two pixels just outside
            it, in grey levels, -255 … 255. About 0 where a fill continues the photo around it; larger values mean a
            more visible seam. ``None`` where no border has two pixels outside it.
        suspicious: ``saturated``: the fill is black or white all along its border, where most of the photo beside it
            is not; ``flat``: it has one colour there, where the photo has several; else ``None``.
    """

    seam_score: float | None = None
    suspicious: str | None = None


def look_at_border(pixels: np.ndarray, mask: np.ndarray) -> Border:
    """Compare a fill with the photo around it.

    Args:
        pixels: (H, W, 3) uint8, the result.
        mask: (H, W) bool.
    """
    hole = Box.around(mask)
    if hole is None:
        return Border()
    region = hole.grown(EDGE, mask.shape).slices
    mask, colours = mask[region], pixels[region].reshape(-1, 3)
    width = mask.shape[1]
    # With a rim that is neither inside nor outside, so that no step along the flat arrays meets another row.
    inside, outside = np.pad(mask, EDGE).ravel(), np.pad(~mask, EDGE).ravel()
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
    if position.size == 0:
        return Border()
    within, near, far = (colours[position + offset * outwards].astype(np.int16) for offset in range(3))
    score = float((np.abs(within - near) - np.abs(near - far)).mean())
    return Border(score, _suspicion(within, near))


def _suspicion(within: np.ndarray, near: np.ndarray) -> str | None:
    """Return the suspicion about the outermost pixels of a fill, (N, 3), given those just outside it."""
    if len(within) < MIN_BORDER or any(np.ptp(channel) > ONE_COLOUR for channel in within.T):
        return None
    is_black, is_white = within.max() <= ONE_COLOUR, within.min() >= 255 - ONE_COLOUR
    if is_black or is_white:
        alike = near.max(axis=1) <= ONE_COLOUR if is_black else near.min(axis=1) >= 255 - ONE_COLOUR
        return SATURATED if alike.mean() < 0.5 else None
    return FLAT if max(channel.std() for channel in near.T) > SEVERAL_COLOURS else None
