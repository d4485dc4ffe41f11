"""The autoencoder optimized for a device: same weights, same results to rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from moebius.autoencoder.kl import KlAutoencoder
from moebius.autoencoder.kl_layers import Attention, ResnetBlock, Upsample
from moebius.fast.attention import SingleHeadAttention
from moebius.fast.backend import backend_for
from moebius.fast.fold import replace_layers
from moebius.fast.graph import captured
from moebius.fast.vae_layers import Pointwise, Resnet, Upsampler
from moebius.fast.winograd import WinogradConv, is_plain

if TYPE_CHECKING:
    from moebius.autoencoder.vae import Autoencoder

MIN_WINOGRAD_CHANNELS = (
    256  # 1.3 to 1.9 times as fast from there on in float32; not for bfloat16, which rounds its sums
)
MIN_FOLDED_CHANNELS = 32  # 1.4 times as fast at 32, 2.5 times at 512


def optimize_autoencoder(
    vae: Autoencoder, dtype: torch.dtype, device: torch.device, is_untimed: bool = False
) -> Autoencoder:
    """Replace layers by faster ones; the model is changed and returned.

    Maps are channels-last in memory. On GPUs the convolutions stay PyTorch's, and the layers between them are fused
    where kernels are available; elsewhere the model stays as it is.

    Args:
        vae: the autoencoder, in evaluation mode, float32.
        dtype: the type it will compute in.
        device: the device it will compute on.
        is_untimed: whether to add what has not been timed on a GPU: resampling in fewer products, CUDA graphs.
    """
    if device.type == "cpu":
        replace_layers(vae, lambda layer: _replacement(layer, dtype) or layer)
        if (backend := backend_for(device, dtype)) is not None:
            backend.fuse_autoencoder(vae)
    elif isinstance(vae, KlAutoencoder):
        if (backend := backend_for(device, dtype)) is None:
            return vae
        backend.fuse_autoencoder(vae)
        if is_untimed:
            from moebius.fast.gpu.autoencoder import fuse_resampling  # imports Triton

            fuse_resampling(vae)
            vae.encode_slice = captured(vae.encode_slice, device)  # type: ignore[method-assign]
            vae.decode_slice = captured(vae.decode_slice, device)  # type: ignore[method-assign]
    return vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # PyTorch declares no such


def _replacement(layer: nn.Module, dtype: torch.dtype) -> nn.Module | None:
    """Return the replacement of a layer; ``None`` for most."""
    if isinstance(layer, ResnetBlock):
        return Resnet(layer)
    if isinstance(layer, Attention):
        return SingleHeadAttention(layer)
    if isinstance(layer, Upsample):
        return Upsampler(layer.conv) if layer.conv.in_channels >= MIN_FOLDED_CHANNELS else None
    if is_plain(layer) and dtype == torch.float32 and min(layer.weight.shape[:2]) >= MIN_WINOGRAD_CHANNELS:
        return WinogradConv(layer)
    if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1):
        return Pointwise(layer)
    return None
