"""One photo, one hole, and what each method fills into it."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from moebius.inference.inpainter import Cost

Row = dict[str, str | float]


@dataclass(frozen=True)
class Case:
    """One photo, one hole, and the fill of each method.

    Args:
        path: of the photo.
        mask_kind: key of ``MASKS``, or ``FROM_FILES``.
        truth: (H, W, 3) uint8.
        mask: (H, W) bool.
        fills: (H, W, 3) uint8 by method: the fill in the hole, and the photo everywhere else.
        failures: by method, why it has no fill.
        seconds, memory_mb: by method; memory is what filling took, see :mod:`pipeline.evaluation.memory`.
        costs: by method that uses a model of ours.
    """

    path: Path
    mask_kind: str
    truth: np.ndarray
    mask: np.ndarray
    fills: dict[str, np.ndarray] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    memory_mb: dict[str, float] = field(default_factory=dict)
    costs: dict[str, Cost] = field(default_factory=dict)

    @property
    def photo(self) -> str:
        """Name of the file, which photos in other folders may have, too."""
        return self.path.name
