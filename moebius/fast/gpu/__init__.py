"""What is between the large products, as Triton kernels: one pass over memory each, where PyTorch makes several."""

import logging
from functools import cache
from importlib.util import find_spec

import torch

logger = logging.getLogger(__name__)


@cache
def serves(device: torch.device) -> bool:
    """Whether the kernels can be used on a device.

    They need Triton, a GPU and a C compiler, and must agree with PyTorch's layers in a self_check.
    """
    if device.type != "cuda" or find_spec("triton") is None:
        return False
    from moebius.fast import self_check
    from moebius.fast.gpu import autoencoder, denoiser  # import Triton, which CPUs do without

    try:
        with torch.cuda.device(device):  # Triton launches on the current one
            self_check.check(device, denoiser.fuse, autoencoder.fuse)
    except Exception as error:  # noqa: BLE001 - whatever a compiler may say: PyTorch's own layers remain
        logger.warning("the kernels for GPUs do not serve on %s, PyTorch's slower layers are used: %s", device, error)
        return False
    return True
