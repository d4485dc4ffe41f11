"""The autoencoder's blocks and last norms for GPUs: norm and SiLU in two passes over memory, biases in others."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from moebius.fast.autoencoder import is_of_diffusers, is_usual_resnet
from moebius.fast.gpu.group_norm import group_terms, scaled
from moebius.fast.gpu.sums import summed


def fuse(vae: nn.Module) -> None:
    """Put fused layers into the place of those that they equal; the model is changed."""
    for module in list(vae.modules()):
        for name, child in module.named_children():
            if is_of_diffusers(child, "ResnetBlock2D") and is_usual_resnet(child):
                setattr(module, name, _FusedResnet(child))
        if isinstance(getattr(module, "conv_act", None), nn.SiLU):
            norm = cast(nn.GroupNorm, module.conv_norm_out)
            module.conv_norm_out, module.conv_act = _NormSilu(norm), nn.Identity()


class _NormSilu(nn.Module):
    """Group norm and SiLU; ``added`` is the bias of the convolution before, which then need not add it."""

    def __init__(self, norm: nn.GroupNorm, added: nn.Parameter | None = None) -> None:
        super().__init__()
        self.norm, self.added = norm, added

    def forward(self, planes: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W), channels-last in memory."""
        features, norm = _channels_last(planes), self.norm
        terms = group_terms(features, norm.num_groups, norm.eps, norm.weight, norm.bias, self.added)
        return scaled(features, *terms, planes.dtype, silu=True).permute(0, 3, 1, 2)


class _FusedResnet(nn.Module):
    """In the place of diffusers' ``ResnetBlock2D``."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.conv1, self.conv2, self.shortcut = block.conv1, block.conv2, block.conv_shortcut
        self.norm1, self.norm2 = _NormSilu(block.norm1), _NormSilu(block.norm2, block.conv1.bias)
        bias = block.conv2.bias.detach().clone()
        if self.shortcut is not None and self.shortcut.bias is not None:
            bias += self.shortcut.bias.detach()
            self.shortcut.bias = None
        self.bias = nn.Parameter(bias, requires_grad=False)
        self.conv1.bias = self.conv2.bias = None

    def forward(self, planes: Tensor, temb: None = None) -> Tensor:
        """(B, C, H, W) → (B, C', H, W), both channels-last in memory."""
        hidden = self.conv2(self.norm2(self.conv1(self.norm1(planes))))
        around = planes if self.shortcut is None else self.shortcut(planes)
        return summed(_channels_last(hidden), _channels_last(around), self.bias).permute(0, 3, 1, 2)


def _channels_last(planes: Tensor) -> Tensor:
    """(B, C, H, W) → (B, H, W, C), contiguous; a copy only where the memory is not laid out so."""
    return planes.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
