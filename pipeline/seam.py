"""How visible the border of a fill is, without knowing the truth."""

import numpy as np

from moebius.windows import Box


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
    region = hole.grown(2, mask.shape).slices
    mask, colours = mask[region], pixels[region].reshape(-1, 3)
    width = mask.shape[1]
    inside, steps = [], []
    for turn, step in enumerate((1, -width, -1, width)):  # outwards to the right, up, left, down
        border, turned = np.zeros_like(mask), np.rot90(mask, -turn)
        np.rot90(border, -turn)[:, :-2] = turned[:, :-2] & ~turned[:, 1:-1] & ~turned[:, 2:]
        inside.append(np.flatnonzero(border))
        steps.append(np.full(inside[-1].size, step))
    position, outwards = np.concatenate(inside), np.concatenate(steps)
    if position.size == 0:
        return None
    within, near, far = (colours[position + offset * outwards].astype(np.int32) for offset in range(3))
    return float((np.abs(within - near) - np.abs(near - far)).mean())
