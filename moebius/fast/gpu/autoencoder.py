"""Layers of the autoencoder for GPUs: norm and SiLU in two passes, biases in others, resampling in fewer products."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from moebius.autoencoder.kl import Decoder, Encoder
from moebius.autoencoder.kl_layers import Downsample, ResnetBlock, Upsample
from moebius.fast.gpu.group_norm import group_terms, normed
from moebius.fast.gpu.subpixel import SubpixelUpsample
from moebius.fast.gpu.sums import summed


def fuse(vae: nn.Module) -> None:
    """Replace residual blocks and last norms of an autoencoder, or of parts of it, by fused layers that equal them."""
    for module in list(vae.modules()):
        for name, child in module.named_children():
            if isinstance(child, ResnetBlock):
                setattr(module, name, _FusedResnet(child))
        if isinstance(module, Encoder | Decoder) and isinstance(module.conv_norm_out, nn.GroupNorm):
            module.conv_norm_out, module.conv_act = _NormSilu(module.conv_norm_out), nn.Identity()


def fuse_resampling(vae: nn.Module) -> None:
    """Replace the layers that change the resolution, too; this has not been timed on a GPU."""
    for module in list(vae.modules()):
        for name, child in module.named_children():
            if isinstance(child, Upsample):
                setattr(module, name, SubpixelUpsample(child.conv))
            elif isinstance(child, Downsample):
                setattr(module, name, _Downsample(child.conv))


class _NormSilu(nn.Module):
    """Group norm and SiLU; ``added`` is the bias of the convolution before, which then need not add it."""

    def __init__(self, norm: nn.GroupNorm, added: Tensor | None = None) -> None:
        super().__init__()
        self.norm, self.added = norm, added

    def forward(self, planes: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W), channels-last in memory."""
        features, norm = _channels_last(planes), self.norm
        terms = group_terms(features, norm.num_groups, norm.eps, norm.weight, norm.bias, self.added)
        return normed(features, *terms, planes.dtype, has_silu=True).permute(0, 3, 1, 2)


class _FusedResnet(nn.Module):
    """Replacement of :class:`ResnetBlock`."""

    def __init__(self, block: ResnetBlock) -> None:
        super().__init__()
        self.conv1, self.conv2, self.shortcut = block.conv1, block.conv2, block.conv_shortcut
        self.norm1, self.norm2 = _NormSilu(block.norm1), _NormSilu(block.norm2, block.conv1.bias)
        biases = [layer.bias.detach() for layer in (self.conv2, self.shortcut) if layer and layer.bias is not None]
        self.bias = nn.Parameter(torch.stack(biases).sum(dim=0), requires_grad=False)
        if self.shortcut is not None:
            self.shortcut.bias = None
        self.conv1.bias = self.conv2.bias = None

    def forward(self, planes: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C', H, W), both channels-last in memory."""
        hidden = self.conv2(self.norm2(self.conv1(self.norm1(planes))))
        around = planes if self.shortcut is None else self.shortcut(planes)
        return summed(_channels_last(hidden), _channels_last(around), self.bias).permute(0, 3, 1, 2)


class _Downsample(nn.Module):
    """Replaces :class:`Downsample`: pads on all sides within the convolution and drops what is too much."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, cast(Tensor, conv.bias)

    def forward(self, planes: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H/2, W/2), rounded down, channels-last in memory."""
        height, width = planes.shape[-2] // 2, planes.shape[-1] // 2
        output = functional.conv2d(planes, self.weight, stride=2, padding=2)[:, :, 1 : 1 + height, 1 : 1 + width]
        return (output + self.bias[:, None, None]).contiguous(memory_format=torch.channels_last)


def _channels_last(planes: Tensor) -> Tensor:
    """(B, C, H, W) → (B, H, W, C), contiguous; a copy only where the memory is not laid out so."""
    return planes.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
