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
    pixels, mask = pixels[region], mask[region]
    across, outside, count = 0.0, 0.0, 0
    for turns in range(4):
        turned_mask, turned = np.rot90(mask, turns), np.rot90(pixels, turns)
        rows, columns = np.nonzero(turned_mask[:, :-2] & ~turned_mask[:, 1:-1] & ~turned_mask[:, 2:])
        inside, near, far = (turned[rows, columns + offset].astype(np.int32) for offset in range(3))
        across += float(np.abs(inside - near).mean(axis=1).sum())
        outside += float(np.abs(near - far).mean(axis=1).sum())
        count += rows.size
    return (across - outside) / count if count else None
