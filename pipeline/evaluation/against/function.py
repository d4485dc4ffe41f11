"""Fills of a function of the user: (H, W, 3) uint8 and (H, W) bool → (H, W, 3) uint8."""

import numpy as np

from pipeline.detection.function import load_function
from pipeline.errors import MACHINE_ERRORS, SampleError
from pipeline.evaluation.methods import Method, Task


def open_function(place: str, context: float) -> Method:
    """Import the function ``package.module:function``.

    Args:
        place: its name.
        context: not used, the function gets whole photos.

    Raises:
        ConfigError: no such module or function, or its module cannot be imported.
    """
    function = load_function(place, "--against")

    def fill(task: Task) -> np.ndarray:
        try:
            return np.asarray(function(task.image.copy(), task.mask.copy()))  # which it may write into
        except MACHINE_ERRORS:
            raise
        except Exception as error:
            message = f"{place} raised {type(error).__name__}: {error}"
            raise SampleError("inpaint", "BadFunction", message) from error

    return Method(fill)
