"""Checked arguments of the C kernels, which cannot check the memory that they are given."""

import torch
from torch import Tensor


def address(tensor: Tensor | None, dtype: torch.dtype | None = None) -> int | None:
    """Return the address of a tensor's values; ``None`` of ``None``.

    Raises:
        TypeError: the tensor is not contiguous, has another type than ``dtype``, is not on a CPU, or needs a gradient.
    """
    if tensor is None:
        return None
    is_usable = tensor.device.type == "cpu" and tensor.is_contiguous() and dtype in (None, tensor.dtype)
    if not is_usable or (tensor.requires_grad and torch.is_grad_enabled()):
        raise TypeError(f"a kernel cannot take {tensor.dtype} on {tensor.device} with strides {tensor.stride()}")
    return tensor.data_ptr()


def is_bf16(tensor: Tensor) -> bool:
    """Return whether a tensor is bfloat16; otherwise it is float32.

    Raises:
        TypeError: another type.
    """
    if tensor.dtype not in (torch.bfloat16, torch.float32):
        raise TypeError(f"a kernel cannot take {tensor.dtype}")
    return tensor.dtype == torch.bfloat16


def check_width(tensor: Tensor, channels: int) -> None:
    """Raise :class:`ValueError` unless a map has so many channels: a kernel would read past its end."""
    if tensor.shape[-1] != channels:
        raise ValueError(f"expected {channels} channels, got {tensor.shape[-1]}")
