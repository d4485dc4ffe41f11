"""Norms of channels-last maps on CPUs, in one pass over memory each: ``passes.c`` on tensors."""

from dataclasses import dataclass

import torch
from torch import Tensor

from moebius.fast.cpu.arguments import address, is_bf16
from moebius.fast.cpu.compiled import kernels


@dataclass(frozen=True)
class Norm:
    """Norm that a kernel applies to rows: a layer norm without weights where ``eps`` is set, then x·scale + shift.

    Args:
        eps: of the layer norm; negative: there is none.
        scale, shift: (B, C) float32; ``None``: there are none.
        positions: positions of each of the B maps.
    """

    eps: float = -1.0
    scale: Tensor | None = None
    shift: Tensor | None = None
    positions: int = 1


def normed(features: Tensor, norm: Norm, dtype: torch.dtype, has_silu: bool = False) -> Tensor:
    """Norm rows, (…, C), contiguous, into another type, with SiLU after the norm if asked for."""
    output, channels = torch.empty_like(features, dtype=dtype), features.shape[-1]
    kernels().normed(
        address(features),
        is_bf16(features),
        features.numel() // channels,
        channels,
        *norm_arguments(norm),
        address(output),
        is_bf16(output),
        has_silu,
        torch.get_num_threads(),
    )
    return output


def group_terms(features: Tensor, groups: int, eps: float, weight: Tensor | None, bias: Tensor | None) -> Norm:
    """Return a group norm of maps (B, H, W, C), contiguous, as scale and shift; weight and bias are float32."""
    maps, height, width, channels = features.shape
    scale, shift = features.new_empty(2, maps, channels, dtype=torch.float32)
    kernels().group_terms(
        address(features),
        is_bf16(features),
        maps,
        height * width,
        channels,
        groups,
        eps,
        address(weight, torch.float32),
        address(bias, torch.float32),
        address(scale),
        address(shift),
        torch.get_num_threads(),
    )
    return Norm(scale=scale, shift=shift, positions=height * width)


def norm_arguments(norm: Norm | None) -> tuple[int | None, int | None, int, float]:
    """Return the arguments that describe a norm to a kernel: scale, shift, positions, eps."""
    norm = norm or Norm()
    return address(norm.scale, torch.float32), address(norm.shift, torch.float32), norm.positions, norm.eps
