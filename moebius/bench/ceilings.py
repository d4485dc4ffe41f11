"""Measured limits of a device: products of large matrices by the faster library, copies of large tensors."""

from dataclasses import dataclass

import torch

from moebius.bench.timing import fastest_s
from moebius.fast.backend import is_available
from moebius.fast.fold import Linear
from moebius.fast.products import product

SIDES = {"cuda": 8192, "cpu": 2048}  # of the matrices
COPIED_BYTES = {"cuda": 1 << 30, "cpu": 1 << 28}  # many times any cache


@dataclass(frozen=True)
class Ceilings:
    """Limits of one device at one precision.

    Args:
        matmul_gflops: 10⁹ operations per second; a multiply-accumulate is two.
        memory_gb_s: 10⁹ bytes per second, read and written.
    """

    matmul_gflops: float
    memory_gb_s: float

    def min_s(self, macs: int, moved_bytes: int) -> float:
        """Return the least seconds for so many multiply-accumulates and bytes, whichever takes longer."""
        return max(2e-9 * macs / self.matmul_gflops, 1e-9 * moved_bytes / self.memory_gb_s)


def measure_ceilings(device: torch.device, dtype: torch.dtype, min_s: float) -> Ceilings:
    """Measure both limits with PyTorch's current number of threads."""
    side, size = SIDES.get(device.type, 2048), COPIED_BYTES.get(device.type, 1 << 28)
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    product_s = fastest_s(lambda: product(left, right), device, min_s)
    if device.type == "cpu" and is_available(device, dtype):
        from moebius.fast.cpu.product import Product  # loads the C kernels

        ours = Product(Linear(right, None))
        product_s = min(product_s, fastest_s(lambda: ours(left), device, min_s))
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    copy_s = fastest_s(lambda: target.copy_(source), device, min_s)
    return Ceilings(2e-9 * side**3 / product_s, 2e-9 * size / copy_s)
