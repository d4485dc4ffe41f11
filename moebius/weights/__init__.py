"""Weights by name: found on this machine or fetched from the hub (``hub``), hashed and built (``files``).

Public: the names below, imported on first use, since building a model needs PyTorch; ``hub`` does not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moebius.weights.files import (
        CHECKPOINT_NAMES,
        Weights,
        WeightsUnavailableError,
        find_weights,
        read_config,
        weights_home,
    )

__all__ = ["CHECKPOINT_NAMES", "Weights", "WeightsUnavailableError", "find_weights", "read_config", "weights_home"]


def __getattr__(name: str) -> Any:
    """Import on first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("moebius.weights.files"), name)
