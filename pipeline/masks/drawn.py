"""A mask with what is known of the objects that it covers."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class DrawnMask:
    """A mask, and the objects that it was drawn from.

    Args:
        pixels: (H, W) bool, true = fill.
        objects: number of boxes, polygons, lines of text …; ``None`` where the mask is a picture.
        score: highest confidence of an object, 0 … 1; ``None`` where objects have no score, or there is none.
        restored: (H, W) or (H, W, bands), the photo with some pixels computed from what is known of what covers them;
            ``None``: as it is.
        computed: (H, W) bool, these pixels, none of which is in ``pixels``.
        place: where what covers the photo was found, ``left,top widthxheight`` in pixels.
    """

    pixels: np.ndarray
    objects: int | None = None
    score: float | None = None
    restored: np.ndarray | None = None
    computed: np.ndarray | None = None
    place: str | None = None

    @property
    def changed(self) -> np.ndarray:
        """The pixels that may differ in the result, (H, W) bool: filled or computed."""
        return self.pixels if self.computed is None else self.pixels | self.computed

    def filling(self, pixels: np.ndarray) -> "DrawnMask":
        """Return the same with other pixels to fill."""
        computed = None if self.computed is None else self.computed & ~pixels
        return replace(self, pixels=pixels, computed=computed)
