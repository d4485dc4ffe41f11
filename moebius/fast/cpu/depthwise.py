"""Depthwise 3×3 convolutions of channels-last maps on CPUs, with what is before and after: ``passes.c`` on tensors."""

from typing import cast

import torch
from torch import Tensor, nn

from moebius.fast.cpu.arguments import address, check_width, is_bf16
from moebius.fast.cpu.compiled import kernels
from moebius.fast.cpu.group_norm import Norm, norm_arguments
from moebius.fast.fold import ChannelsLastConv


class Taps(nn.Module):
    """Depthwise 3×3 filters side by side as the kernels read them, (9, C), and their biases, float32."""

    def __init__(self, *convs: ChannelsLastConv) -> None:
        super().__init__()
        weight = torch.cat([conv.weight.flatten(1) for conv in convs]).float()
        bias = torch.cat([cast(Tensor, conv.bias) for conv in convs]).float()
        self.weight = nn.Parameter(weight.T.contiguous(), requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)


def norm_silu_depthwise(
    features: Tensor, norm: Norm | None, taps: Taps, dtype: torch.dtype, returns_input: bool
) -> tuple[Tensor, Tensor | None]:
    """Compute ReLU(filters(SiLU(norm(x)))), without a norm ReLU(filters(x)).

    Args:
        features: (B, H, W, C) float32, contiguous.
        norm: a group norm.
        taps: the filters.
        dtype: type of the result.
        returns_input: whether to return the filters' input, too.

    Returns:
        (B, H, W, C) each; the filters' input is float32.
    """
    check_width(features, len(taps.bias))
    output = torch.empty_like(features, dtype=dtype)
    around = torch.empty_like(features) if returns_input else None
    kernels().norm_silu_depthwise(
        address(features, torch.float32),
        *features.shape,
        *norm_arguments(norm)[:2],
        address(around),
        address(taps.weight, torch.float32),
        address(taps.bias, torch.float32),
        address(output),
        is_bf16(output),
        torch.get_num_threads(),
    )
    return output, around


def gated_depthwise(features: Tensor, taps: Taps) -> Tensor:
    """Compute SiLU(filters(SiLU(gate)))·filters(SiLU(value)): (B, H, W, 2C), values before gates → (B, H, W, C)."""
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
