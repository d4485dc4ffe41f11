"""Non-maximum suppression of boxes."""

import numpy as np

MAX_OVERLAP = 0.7  # intersection over union; the union of masks loses little by two boxes of one object


def suppress(
    boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, max_overlap: float = MAX_OVERLAP
) -> np.ndarray:
    """Return the indices of boxes that overlap no surer box of their class, the surest first.

    Args:
        boxes: (N, 4) left, top, right, bottom.
        scores: (N,); of equal ones the first counts as the surer.
        classes: (N,) ids.
        max_overlap: intersection over union up to which both boxes are kept.
    """
    left, order = boxes.astype(np.float64), np.argsort(-scores, kind="stable")
    areas = np.prod(np.maximum(left[:, 2:] - left[:, :2], 0), axis=1)
    kept = []
    while len(order):
        first, others = order[0], order[1:]
        kept.append(first)
        sides = np.minimum(left[first, 2:], left[others, 2:]) - np.maximum(left[first, :2], left[others, :2])
        common = np.prod(np.maximum(sides, 0), axis=1)
        union = areas[first] + areas[others] - common
        order = others[(common <= max_overlap * union) | (classes[others] != classes[first])]
    return np.array(kept, np.intp)
