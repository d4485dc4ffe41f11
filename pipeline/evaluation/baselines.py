"""Fills that need no model, to measure one against."""

from collections.abc import Callable

import numpy as np

RADIUS_PX = 3  # of the neighbourhoods that OpenCV looks at


def mean_fill(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mean colour of what is known; (H, W, 3) uint8 and (H, W) bool → (H, W, 3) uint8, as all of these."""
    filled = image.copy()
    if not mask.all():
        filled[mask] = np.rint(image[~mask].mean(axis=0)).astype(np.uint8)
    return filled


def telea(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fast marching (Telea 2004)."""
    import cv2

    return cv2.inpaint(image, mask.astype(np.uint8), RADIUS_PX, cv2.INPAINT_TELEA)


def navier_stokes(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Lines of equal brightness carried on (Bertalmio et al. 2001)."""
    import cv2

    return cv2.inpaint(image, mask.astype(np.uint8), RADIUS_PX, cv2.INPAINT_NS)


def biharmonic(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The smoothest surface through what is known, of scikit-image."""
    from skimage.restoration import inpaint_biharmonic

    filled = inpaint_biharmonic(image, mask, channel_axis=-1, split_into_regions=True)
    result = image.copy()
    result[mask] = np.clip(np.rint(filled[mask] * 255), 0, 255).astype(np.uint8)
    return result


BASELINES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "mean": mean_fill,
    "telea": telea,
    "navier-stokes": navier_stokes,
    "biharmonic": biharmonic,
}
