"""Quality signals from the border of a fill, without ground truth."""

from dataclasses import dataclass

import numpy as np

from moebius.windows.seam import border_colours

FLAT, SATURATED = "flat", "saturated"
MIN_BORDER = 16  # steps; a smaller border may well have one colour
ONE_COLOUR = 4  # grey levels between the darkest and the brightest
SEVERAL_COLOURS = 8.0  # grey levels of standard deviation


@dataclass(frozen=True)
class Border:
    """Measurements along the border of the mask.

    Args:
        seam_score: see :attr:`moebius.windows.seam.BorderColours.seam_score`.
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
    colours = border_colours(pixels, mask)
    return Border(colours.seam_score, _suspicion(colours.within, colours.near))


def _suspicion(within: np.ndarray, near: np.ndarray) -> str | None:
    """Return the suspicion about the outermost pixels of a fill, (N, 3), given those just outside it."""
    if len(within) < MIN_BORDER or any(np.ptp(channel) > ONE_COLOUR for channel in within.T):
        return None
    is_black, is_white = within.max() <= ONE_COLOUR, within.min() >= 255 - ONE_COLOUR
    if is_black or is_white:
        alike = near.max(axis=1) <= ONE_COLOUR if is_black else near.min(axis=1) >= 255 - ONE_COLOUR
        return SATURATED if alike.mean() < 0.5 else None
    return FLAT if max(channel.std() for channel in near.T) > SEVERAL_COLOURS else None
