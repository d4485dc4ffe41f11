"""Moebius: lightweight image inpainting (arXiv 2606.19195), without any cluster code.

Public: ``Inpainter`` and its ``InpaintSettings`` (:mod:`moebius.inference`), ``Denoiser``, ``MoebiusConfig`` and
``load_denoiser`` (:mod:`moebius.network`), imported on first use.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moebius.inference.inpainter import Inpainter
    from moebius.inference.settings import InpaintSettings
    from moebius.network.config import MoebiusConfig
    from moebius.network.denoiser import Denoiser
    from moebius.network.published import load_denoiser

__all__ = ["Denoiser", "InpaintSettings", "Inpainter", "MoebiusConfig", "load_denoiser"]

_MODULES = {
    "Denoiser": "network.denoiser",
    "InpaintSettings": "inference.settings",
    "Inpainter": "inference.inpainter",
    "MoebiusConfig": "network.config",
    "load_denoiser": "network.published",
}

# PyTorch reads this at its first tensor and asks the system for maps in pages of 2 MB, not of 4 kB each.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def __getattr__(name: str) -> Any:
    """Import on first use: workers that only read and write start a second faster without PyTorch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"moebius.{_MODULES[name]}"), name)
