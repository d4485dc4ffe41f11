"""The autoencoder arranged for speed: same weights, same results to rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from moebius.fast import gpu
from moebius.fast.upsample import FoldedUpsample
from moebius.fast.winograd import WinogradConv, is_plain

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

LEAST_WINOGRAD_CHANNELS = 128  # sooner by 1.3 to 2.3 from there on, in float32; not in bfloat16, which rounds its sums
LEAST_FOLDED_CHANNELS = 32  # sooner by 1.4 at 32, by 2.5 at 512


def arrange_vae(vae: AutoencoderKL, dtype: torch.dtype, device: torch.device) -> AutoencoderKL:
    """Put convolutions that are sooner into the place of others; the model is changed and returned.

    Maps are channels-last in memory. On GPUs the convolutions are left to their own library, and what is between them
    is fused, where Triton serves; where it does not, the model stays as it is.

    Args:
        vae: in evaluation mode, float32.
        dtype: of the computation.
        device: where.
    """
    if device.type == "cpu":
        for module in list(vae.modules()):
            for name, child in module.named_children():
                if faster := _arranged(child, dtype):
                    setattr(module, name, faster)
    elif gpu.serves(device):
        from moebius.fast.gpu.autoencoder import fuse  # imports Triton

        fuse(vae)
    else:
        return vae
    return vae.to(memory_format=torch.channels_last)


class _Upsampler(nn.Module):
    """In the place of diffusers' ``Upsample2D``."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.folded = FoldedUpsample(conv)

    def forward(self, features: Tensor, output_size: None = None) -> Tensor:
        """(B, C, H, W) → (B, C, 2H, 2W), both channels-last in memory."""
        return self.folded(features.permute(0, 2, 3, 1).contiguous()).permute(0, 3, 1, 2)


def _arranged(layer: nn.Module, dtype: torch.dtype) -> nn.Module | None:
    """What takes the place of a layer; ``None`` for most."""
    from diffusers.models.upsampling import Upsample2D  # takes seconds to import

    if isinstance(layer, Upsample2D):
        is_known = is_plain(layer.conv) and layer.norm is None and layer.interpolate
        return _Upsampler(layer.conv) if is_known and layer.channels >= LEAST_FOLDED_CHANNELS else None
    if is_plain(layer) and dtype == torch.float32 and min(layer.weight.shape[:2]) >= LEAST_WINOGRAD_CHANNELS:
        return WinogradConv(layer)
    return None
