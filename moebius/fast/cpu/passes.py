"""What is between the products on CPUs, in one pass over memory each: ``passes.c`` on tensors."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from moebius.fast.cpu.compiled import kernels
from moebius.fast.fold import ChannelsLastConv


@dataclass(frozen=True)
class Norm:
    """What becomes of rows: a layer norm without weights if there is ``eps``; x·scale + shift if there are such.

    Args:
        eps: of the layer norm.
        scale, shift: (B, C) float32.
        positions: of each of the B maps.
    """

    eps: float = -1.0
    scale: Tensor | None = None
    shift: Tensor | None = None
    positions: int = 1


class Taps(nn.Module):
    """Depthwise 3×3 filters side by side as the kernels read them, (9, C), and their biases, float32."""

    def __init__(self, *convs: ChannelsLastConv) -> None:
        super().__init__()
        weight = torch.cat([conv.weight.flatten(1) for conv in convs]).float()
        bias = torch.cat([cast(Tensor, conv.bias) for conv in convs]).float()
        self.weight = nn.Parameter(weight.T.contiguous(), requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)


def normed(features: Tensor, norm: Norm, dtype: torch.dtype, has_silu: bool = False) -> Tensor:
    """(…, C), contiguous → the same in another type, normed, and SiLU if asked for."""
    output, channels = torch.empty_like(features, dtype=dtype), features.shape[-1]
    kernels().normed(
        address(features),
        is_bf16(features),
        features.numel() // channels,
        channels,
        *arguments(norm),
        address(output),
        is_bf16(output),
        has_silu,
        torch.get_num_threads(),
    )
    return output


def group_norm(features: Tensor, groups: int, eps: float, weight: Tensor | None, bias: Tensor | None) -> Norm:
    """What a group norm does to maps (B, H, W, C), contiguous; weight and bias are float32, or are left out."""
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


def norm_silu_depthwise(
    features: Tensor, norm: Norm | None, taps: Taps, dtype: torch.dtype, keeps: bool
) -> tuple[Tensor, Tensor | None]:
    """ReLU(filters(SiLU(norm(x)))), without norm ReLU(filters(x)).

    Args:
        features: (B, H, W, C) float32, contiguous.
        norm: a group norm.
        taps: the filters.
        dtype: of the result.
        keeps: whether what the filters are given is returned, too.

    Returns:
        (B, H, W, C) each; what the filters were given in float32.
    """
    check_width(features, len(taps.bias))
    output = torch.empty_like(features, dtype=dtype)
    around = torch.empty_like(features) if keeps else None
    kernels().norm_silu_depthwise(
        address(features, torch.float32),
        *features.shape,
        *arguments(norm)[:2],
        address(around),
        address(taps.weight, torch.float32),
        address(taps.bias, torch.float32),
        address(output),
        is_bf16(output),
        torch.get_num_threads(),
    )
    return output, around


def gated_depthwise(features: Tensor, taps: Taps) -> Tensor:
    """SiLU(filters(SiLU(gate)))·filters(SiLU(value)): (B, H, W, 2C), values before gates → (B, H, W, C)."""
    check_width(features, len(taps.bias))
    *shape, width = features.shape
    output = features.new_empty(*shape, width // 2)
    kernels().gated_depthwise(
        address(features),
        is_bf16(features),
        *output.shape,
        address(taps.weight, torch.float32),
        address(taps.bias, torch.float32),
        address(output),
        torch.get_num_threads(),
    )
    return output


def address(tensor: Tensor | None, dtype: torch.dtype | None = None) -> int | None:
    """Where a tensor's values lie, one after the other.

    Raises:
        TypeError: they do not, are of another type than is wanted, on another device, or part of a gradient.
    """
    if tensor is None:
        return None
    is_usable = tensor.device.type == "cpu" and tensor.is_contiguous() and dtype in (None, tensor.dtype)
    if not is_usable or (tensor.requires_grad and torch.is_grad_enabled()):
        raise TypeError(f"a kernel cannot take {tensor.dtype} on {tensor.device} with strides {tensor.stride()}")
    return tensor.data_ptr()


def is_bf16(tensor: Tensor) -> bool:
    """Whether its type is bfloat16, else it is float32.

    Raises:
        TypeError: it is neither.
    """
    if tensor.dtype not in (torch.bfloat16, torch.float32):
        raise TypeError(f"a kernel cannot take {tensor.dtype}")
    return tensor.dtype == torch.bfloat16


def check_width(tensor: Tensor, channels: int) -> None:
    """Raises :class:`ValueError` unless a map has so many channels: kernels believe what they are told."""
    if tensor.shape[-1] != channels:
        raise ValueError(f"expected {channels} channels, got {tensor.shape[-1]}")


def arguments(norm: Norm | None) -> tuple[int | None, int | None, int, float]:
    """As the kernels take it."""
    norm = norm or Norm()
    return address(norm.scale, torch.float32), address(norm.shift, torch.float32), norm.positions, norm.eps
