"""Fills that need no model, to measure one against."""

from collections.abc import Callable

import numpy as np

RADIUS_PX = 3  # of the neighbourhoods that OpenCV looks at


def mean_fill(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fill with the mean colour of the known pixels; all fills here: (H, W, 3) uint8, (H, W) bool → (H, W, 3) uint8."""
    filled = image.copy()
    if not mask.all():
        filled[mask] = np.rint(image[~mask].mean(axis=0)).astype(np.uint8)
    return filled


def telea(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fill by fast marching (Telea 2004)."""
    import cv2

    return cv2.inpaint(image, mask.astype(np.uint8), RADIUS_PX, cv2.INPAINT_TELEA)


def navier_stokes(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fill by continuing lines of equal brightness (Bertalmio et al. 2001)."""
    import cv2

    return cv2.inpaint(image, mask.astype(np.uint8), RADIUS_PX, cv2.INPAINT_NS)


def biharmonic(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fill with scikit-image's biharmonic surface, the smoothest one through the known pixels."""
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
