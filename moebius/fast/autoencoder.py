"""The autoencoder arranged for speed: same weights, same results to rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from moebius.autoencoder.kl import KlAutoencoder
from moebius.autoencoder.kl_layers import Attention, ResnetBlock, Upsample
from moebius.fast import cpu, gpu
from moebius.fast.attention import SingleHeadAttention
from moebius.fast.fold import linear, replace_layers
from moebius.fast.graph import captured, shared_pool
from moebius.fast.upsample import FoldedUpsample
from moebius.fast.winograd import WinogradConv, is_plain

if TYPE_CHECKING:
    from moebius.autoencoder.vae import Autoencoder

LEAST_WINOGRAD_CHANNELS = 256  # sooner by 1.3 to 1.9 from there on, in float32; not in bfloat16, which rounds its sums
LEAST_FOLDED_CHANNELS = 32  # sooner by 1.4 at 32, by 2.5 at 512


def arrange_vae(vae: Autoencoder, dtype: torch.dtype, device: torch.device, is_untimed: bool = False) -> Autoencoder:
    """Put layers that are sooner into the place of others; the model is changed and returned.

    Maps are channels-last in memory. On GPUs the convolutions are left to their own library, and what is between them
    is fused, where Triton serves; where it does not, the model stays as it is.

    Args:
        vae: in evaluation mode, float32.
        dtype: of the computation.
        device: where.
        is_untimed: whether to take what has not been timed on a GPU: resampling in fewer products, CUDA graphs.
    """
    if device.type == "cpu":
        replace_layers(vae, lambda layer: _arranged(layer, dtype) or layer)
        if cpu.serves(device):
            from moebius.fast.cpu.autoencoder import fuse as fuse_on_cpu  # loads the C kernels

            fuse_on_cpu(vae)
    elif isinstance(vae, KlAutoencoder):
        if not gpu.serves(device):
            return vae
        from moebius.fast.gpu.autoencoder import fuse  # imports Triton

        fuse(vae, is_untimed)
        if not is_untimed:
            return vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as below
        pool = shared_pool(device)
        vae.encode_slice = captured(vae.encode_slice, device, pool)  # type: ignore[method-assign]
        vae.decode_slice = captured(vae.decode_slice, device, pool)  # type: ignore[method-assign]
    return vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # PyTorch declares no such


class Resnet(nn.Module):
    """Replacement of :class:`ResnetBlock` with half of its maps: the others are changed in place."""

    def __init__(self, block: ResnetBlock) -> None:
        super().__init__()
        self.norm1: nn.Module = block.norm1
        self.norm2: nn.Module = block.norm2
        self.conv1, self.conv2 = block.conv1, block.conv2
        self.shortcut = block.conv_shortcut
        self.activation: nn.Module = nn.SiLU(inplace=True)

    def forward(self, planes: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C', H, W), both channels-last in memory."""
        hidden = self.conv1(self.activation(self.norm1(planes)))
        hidden = self.conv2(self.activation(self.norm2(hidden)))
        return hidden.add_(planes if self.shortcut is None else self.shortcut(planes))


class _Pointwise(nn.Module):
    """In the place of a 1×1 convolution."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.linear = linear(conv.weight, conv.bias)

    def forward(self, planes: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C', H, W), both channels-last in memory."""
        return self.linear(planes.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Upsampler(nn.Module):
    """Replacement of :class:`Upsample`."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.folded = FoldedUpsample(conv)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, 2H, 2W), both channels-last in memory."""
        return self.folded(features.permute(0, 2, 3, 1).contiguous()).permute(0, 3, 1, 2)


def _arranged(layer: nn.Module, dtype: torch.dtype) -> nn.Module | None:
    """What takes the place of a layer; ``None`` for most."""
    if isinstance(layer, ResnetBlock):
        return Resnet(layer)
    if isinstance(layer, Attention):
        return SingleHeadAttention(layer)
    if isinstance(layer, Upsample):
        return _Upsampler(layer.conv) if layer.conv.in_channels >= LEAST_FOLDED_CHANNELS else None
    if is_plain(layer) and dtype == torch.float32 and min(layer.weight.shape[:2]) >= LEAST_WINOGRAD_CHANNELS:
        return WinogradConv(layer)
    if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1):
        return _Pointwise(layer)
    return None
