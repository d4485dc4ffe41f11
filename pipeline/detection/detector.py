"""The interface of detectors, and the one of each kind that this process has open."""

import threading
from collections.abc import Hashable
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol, Self

from pipeline.config.mask import MaskConfig
from pipeline.detection.registry import DETECTORS

if TYPE_CHECKING:
    import numpy as np

    from pipeline.masks.drawn import DrawnMask

MAX_OPEN = 8  # in one process
_opening = threading.Lock()  # so that threads that need the same model load it once


class Detector(Protocol):
    """Finds what is to be filled; several threads may call it at once, and equal pixels give equal answers."""

    @staticmethod
    def settings(config: MaskConfig) -> Hashable:
        """Return the settings that decide what is found, and no others."""

    @classmethod
    def open(cls, settings: Hashable) -> Self:
        """Create the detector that :meth:`settings` describes."""

    def find(self, rgb: "np.ndarray") -> "DrawnMask":
        """Find objects in a photo.

        Args:
            rgb: (H, W, 3) uint8.

        Returns:
            The pixels of all objects, (H, W) bool; their number, and the highest confidence.

        Raises:
            SampleError: of the stage ``mask``: the detector cannot judge this photo.
        """


def open_detector(config: MaskConfig) -> Detector:
    """Return this process's detector for a mask kind in ``DETECTORS``, opened on first use.

    Args:
        config: the settings of masks, with files that are on this machine.

    Raises:
        ConfigError: it cannot be used, or is not on this machine.
    """
    kind = config.kind
    settings = DETECTORS.load(kind).settings(config)
    with _opening:
        return _opened(kind, settings)


@lru_cache(MAX_OPEN)
def _opened(kind: str, settings: Hashable) -> Detector:
    detector: Detector = DETECTORS.load(kind).open(settings)
    return detector
