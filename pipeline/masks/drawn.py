"""A mask with what is known of the objects that it covers."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class DrawnMask:
    """A mask, and the objects that it was drawn from.

    Args:
        pixels: (H, W) bool, true = fill.
        objects: number of boxes, polygons, lines of text …; ``None`` where the mask is a picture.
        score: highest confidence of an object, 0 … 1; ``None`` where objects have no score, or there is none.
    """

    pixels: np.ndarray
    objects: int | None = None
    score: float | None = None
