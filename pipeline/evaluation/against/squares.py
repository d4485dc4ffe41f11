"""Fills holes of photos of any size with models that see squares of one size, in the windows of our own models."""

from collections.abc import Callable

import numpy as np

from moebius.windows import Box, plan_windows
from moebius.windows.painting import Painting
from moebius.windows.seeds import window_seed
from pipeline.evaluation.methods import Task

FillSquare = Callable[[np.ndarray, np.ndarray, int], np.ndarray]  # pixels, hole, seed → pixels


def fill_squares(task: Task, side_px: int, context: float, fill: FillSquare) -> np.ndarray:
    """Cut windows as ``window.context`` says, fill each, and put the fills into the photo.

    Args:
        task: photo and hole.
        side_px: of the squares.
        context: side of a window over the longest side of its hole.
        fill: of (side, side, 3) uint8, (side, side) bool and a seed.

    Returns:
        (H, W, 3) uint8.
    """
    result = task.image.copy()
    windows = plan_windows(task.mask, side_px, context)
    painting = Painting(task.image, task.mask, windows, result, Box(0, 0, *task.mask.shape))
    for number in range(painting.count):
        pixels, hole = painting.cut(number, side_px)
        painting.paste(number, fill(pixels, hole, window_seed(task.seed, painting.name(number))))
    return result
