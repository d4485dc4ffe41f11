"""Squares of one size around the hole of a photo, for distances between sets of pictures."""

import numpy as np

from moebius.windows import Box

CROP_PX = 128
MIN_HOLE = 0.05  # of a square; with less in it, fill and photo are the same picture
MAX_CROPS = 8  # of one photo


def crop_boxes(mask: np.ndarray) -> list[Box]:
    """Cover the box around a hole with squares of ``CROP_PX`` that do not overlap, and keep those with hole in them.

    Args:
        mask: (H, W) bool, not empty.

    Returns:
        At most ``MAX_CROPS`` squares, those with most hole, in reading order; of a photo that is smaller, all of it.
    """
    box = Box.around(mask)
    if box is None:
        raise ValueError("the mask must not be empty")
    rows = _starts(box.top, box.bottom, mask.shape[0])
    columns = _starts(box.left, box.right, mask.shape[1])
    found = [Box(top, left, *_ends(top, left, mask.shape)) for top in rows for left in columns]
    shares = [float(mask[square.slices].mean()) for square in found]
    order = sorted(range(len(found)), key=lambda index: -shares[index])[:MAX_CROPS]
    kept = [index for index in order if shares[index] >= MIN_HOLE] or order[:1]
    return [found[index] for index in sorted(kept)]


def _ends(top: int, left: int, shape: tuple[int, ...]) -> tuple[int, int]:
    return min(top + CROP_PX, shape[0]), min(left + CROP_PX, shape[1])


def _starts(start: int, end: int, length: int) -> list[int]:
    """Return where squares start along a side: as many as have room, spread over the hole and inside the photo."""
    count = max(1, (end - start) // CROP_PX)
    middle = (start + end) / 2
    spacing = (end - start) / count
    starts = [middle + (index - (count - 1) / 2) * spacing - CROP_PX / 2 for index in range(count)]
    return [min(max(0, round(value)), max(0, length - CROP_PX)) for value in starts]
