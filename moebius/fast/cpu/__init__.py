"""Products and what is between them as C kernels: one pass over memory each, and tiles of AMX where there are any."""

import logging
import sys
from functools import cache

import torch

logger = logging.getLogger(__name__)


@cache
def serves(device: torch.device) -> bool:
    """Whether the kernels can be used on a device.

    They need a CPU, Linux and a C compiler, and must agree with PyTorch's layers in a self_check.
    """
    if device.type != "cpu" or sys.platform != "linux":
        return False
    from moebius.fast import self_check
    from moebius.fast.cpu import autoencoder, denoiser

    try:
        self_check.check(device, denoiser.fuse)
        autoencoder.check()
    except Exception as error:  # noqa: BLE001 - whatever a compiler may say: PyTorch's own layers remain
        logger.warning("the kernels for CPUs do not serve, PyTorch's slower layers are used: %s", error)
        return False
    return True
