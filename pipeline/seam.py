"""How visible the border of a fill is, without knowing the truth."""

import numpy as np

from moebius.windows import Box

EDGE = 2  # pixels outside the hole that are looked at


def seam_score(pixels: np.ndarray, mask: np.ndarray) -> float | None:
    """Mean colour step across the mask's border, less the mean step between the two pixels just outside it.

    About 0 where a fill goes on as the photo around it does; the larger, the more visible the seam.

    Args:
        pixels: (H, W, 3) uint8, the result.
        mask: (H, W) bool.

    Returns:
        Grey levels, -255 … 255; ``None`` where no border has two pixels outside it.
    """
    hole = Box.around(mask)
    if hole is None:
        return None
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
        return None
    within, near, far = (colours[position + offset * outwards].astype(np.int16) for offset in range(3))
    return float((np.abs(within - near) - np.abs(near - far)).mean())
