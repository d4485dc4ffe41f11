"""Kernels of our own for a device: in C on CPUs, in Triton on GPUs, or none, where PyTorch's layers remain."""

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import torch
from torch import nn

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backend:
    """Functions that replace layers by equal ones with kernels; the model is changed.

    Args:
        fuse_denoiser: for a :class:`moebius.fast.denoiser.FastDenoiser`, moved and lowered before.
        fuse_autoencoder: for an autoencoder.
    """

    fuse_denoiser: Callable[[nn.Module], None]
    fuse_autoencoder: Callable[[nn.Module], None]


def is_available(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether there are kernels for a device and a type of the computation."""
    return backend_for(device, dtype) is not None


@cache
def backend_for(device: torch.device, dtype: torch.dtype) -> Backend | None:
    """Return the kernels for a device and a type, checked once per process; ``None`` where there are none.

    All need a C compiler, those for CPUs Linux, those for GPUs Triton. They must agree with PyTorch's layers in a
    self-check; where they do not, a warning says why.
    """
    try:
        if device.type == "cpu" and sys.platform == "linux":
            return _cpu_backend(device, dtype)
        if device.type == "cuda" and find_spec("triton") is not None:
            return _gpu_backend(device, dtype)
    except Exception as error:  # noqa: BLE001 - a compiler may raise anything: PyTorch's own layers remain
        kernels = "CPUs are unavailable" if device.type == "cpu" else f"GPUs are unavailable on {device}"
        logger.warning("the kernels for %s, PyTorch's slower layers are used: %s", kernels, error)
    return None


def _cpu_backend(device: torch.device, dtype: torch.dtype) -> Backend:
    from moebius.fast import self_check
    from moebius.fast.cpu import autoencoder, denoiser  # load the C kernels when they are first used

    self_check.check(device, dtype, denoiser.fuse)
    autoencoder.check(dtype)
    return Backend(denoiser.fuse, autoencoder.fuse)


def _gpu_backend(device: torch.device, dtype: torch.dtype) -> Backend:
    from moebius.fast import self_check
    from moebius.fast.gpu import autoencoder, denoiser  # import Triton, which CPUs do not need

    with torch.cuda.device(device):  # Triton launches on the current one
        self_check.check(device, dtype, denoiser.fuse, autoencoder.fuse)
    return Backend(denoiser.fuse, autoencoder.fuse)
