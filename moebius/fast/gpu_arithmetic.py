"""Arithmetic of products and convolutions on GPUs: order of sums and rounding."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def gpu_arithmetic(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Let a GPU multiply always in the same order, and exactly where the model computes in float32.

    Where a model of another type keeps layers in float32, inputs of products are rounded to the ten bits of TF32, which
    is several times faster. On a CPU nothing changes.

    Args:
        device: the device that computes.
        dtype: the model's type.
    """
    precision = "ieee" if dtype == torch.float32 else "tf32"
    products: Any = torch.backends.cuda.matmul
    convolutions: Any = torch.backends.cudnn
    settings = [
        (convolutions, "deterministic", True),
        (convolutions, "benchmark", False),
        (convolutions.conv, "fp32_precision", precision),
        (products, "fp32_precision", precision),
        (products, "allow_fp16_reduced_precision_reduction", False),  # sums stay float32
    ]
    if device.type != "cuda":
        settings = []
    before = [getattr(holder, name) for holder, name, _ in settings]
    for holder, name, value in settings:
        setattr(holder, name, value)
    try:
        yield
    finally:
        for (holder, name, _), value in zip(settings, before, strict=True):
            setattr(holder, name, value)
