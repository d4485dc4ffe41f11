"""Registry of metrics: one line each."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.metrics import psnr, ssim, texture_distance


@dataclass(frozen=True)
class Metric:
    """A figure of one filled photo.

    Args:
        measure: of the true photo and the filled one, (H, W, 3) uint8 each, and the hole, (H, W) bool, not empty.
        digits: behind the point, in tables.
    """

    measure: Callable[[np.ndarray, np.ndarray, np.ndarray], float]
    digits: int


METRICS = {
    "psnr_db": Metric(psnr, 2),
    "ssim": Metric(ssim, 3),
    "texture": Metric(texture_distance, 3),
}
