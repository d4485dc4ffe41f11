"""Finds objects with a function of the user, for ``mask.kind=python``."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.mask import MaskConfig
from pipeline.detection.geometry import draw_boxes
from pipeline.errors import MACHINE_ERRORS, ConfigError, SampleError
from pipeline.masks.drawn import DrawnMask

SOURCE = "sha256:"  # before the hash of a function's file, as its version
BAD = "BadMaskFunction"
LEAST = 0.5  # share of full scale from which a value is filled


@dataclass(frozen=True)
class FunctionDetector:
    """Asks a function for the mask of a photo.

    Args:
        name: ``package.module:function``.
        function: (H, W, 3) uint8 → (H, W) bool, uint8 or floating point 0 … 1; or boxes, (N, 4) numbers.
    """

    name: str
    function: Callable[[np.ndarray], Any]

    @staticmethod
    def settings(config: MaskConfig) -> tuple[str, str | None]:
        """See :class:`pipeline.detection.detector.Detector`."""
        return config.function or "", config.version

    @classmethod
    def open(cls, settings: tuple[str, str | None]) -> "FunctionDetector":
        """See :class:`pipeline.detection.detector.Detector`."""
        return cls(settings[0], load_function(settings[0]))

    def find(self, rgb: np.ndarray) -> DrawnMask:
        """See :class:`pipeline.detection.detector.Detector`."""
        try:
            answer = np.asarray(self.function(rgb.copy()))  # which it may write into
        except MACHINE_ERRORS:
            raise
        except Exception as error:
            message = f"{self.name} raised {type(error).__name__}: {error}"
            raise SampleError("mask", BAD, message) from error
        try:
            return as_mask(answer, rgb.shape[:2])
        except ValueError as error:
            raise SampleError("mask", BAD, f"{self.name} returned {error}") from error


def load_function(name: str, key: str = "mask.function") -> Callable[..., Any]:
    """Import a function.

    Args:
        name: ``package.module:function``.
        key: of the setting, with which messages begin.

    Raises:
        ConfigError: no such module or function, or its module cannot be imported.
    """
    module, _, path = name.partition(":")
    if not module or not path:
        raise ConfigError(f"{key} must be package.module:function, got {name!r}")
    try:
        found: Any = import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise ConfigError(f"{key}: {module} has no {path}") from error
    except Exception as error:
        message = f"{key}: cannot import {module} ({type(error).__name__}: {error}); workers import it, too"
        raise ConfigError(message) from error
    if not callable(found):
        raise ConfigError(f"{key}: {name} is no function, but {type(found).__name__}")
    function: Callable[..., Any] = found
    return function


def source_version(name: str) -> str:
    """Return the hash of the file that a function's module was imported from, as its version.

    Raises:
        ConfigError: see :func:`load_function`; or it has no source file.
    """
    load_function(name)
    file = getattr(import_module(name.partition(":")[0]), "__file__", None)
    if not file or not file.endswith(".py"):
        raise ConfigError(f"mask.function: {name} has no source file that tells its version; set mask.version")
    return SOURCE + hashlib.sha256(Path(file).read_bytes()).hexdigest()


def as_mask(answer: np.ndarray, shape: tuple[int, int]) -> DrawnMask:
    """Return the answer of a function as a mask of a photo's shape, (H, W).

    Raises:
        ValueError: it is none; the message continues "it returned …".
    """
    kind, described = answer.dtype.kind, f"{answer.dtype} of shape {answer.shape}"
    if answer.size == 0 and answer.ndim in (1, 2) and answer.shape[-1] in (0, 4):
        return DrawnMask(np.zeros(shape, bool), 0)
    if answer.shape == shape and (kind in "bf" or answer.dtype == np.uint8):
        return DrawnMask(_at_half(answer))
    if answer.ndim != 2 or answer.shape[1] != 4 or kind not in "iuf":
        size = f"({shape[0]}, {shape[1]})"
        raise ValueError(f"{described}; it must be {size} of bool, uint8 or floating point 0 … 1, or boxes (N, 4)")
    return _boxes(answer, shape)


def _at_half(values: np.ndarray) -> np.ndarray:
    if values.dtype == bool:
        return values
    if values.dtype == np.uint8:
        return values >= LEAST * 255
    if not np.isfinite(values).all() or values.min(initial=0) < 0 or values.max(initial=0) > 1:
        raise ValueError("floating point values outside 0 … 1, or NaN")
    return values >= LEAST


def _boxes(boxes: np.ndarray, shape: tuple[int, int]) -> DrawnMask:
    if not np.isfinite(boxes).all():
        raise ValueError("boxes with NaN or infinite coordinates")
    if (boxes[:, 2:] < boxes[:, :2]).any():
        raise ValueError("boxes that end before they start; they must be left, top, right, bottom")
    mask = np.zeros(shape, bool)
    draw_boxes(mask, boxes)
    return DrawnMask(mask, len(boxes))
