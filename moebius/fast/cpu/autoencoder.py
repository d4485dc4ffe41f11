"""Norms of the autoencoder for CPUs with the SiLU after them, in two passes over memory; only the second writes."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from moebius.autoencoder.kl import Decoder, Encoder
from moebius.fast.cpu.group_norm import group_terms, normed
from moebius.fast.self_check import BOUNDS, compare
from moebius.fast.vae_layers import Resnet


def fuse(vae: nn.Module) -> None:
    """Replace norms and activations by fused layers that equal them; the model is changed."""
    for module in list(vae.modules()):
        if isinstance(module, Resnet):
            if isinstance(module.norm1, nn.GroupNorm) and isinstance(module.norm2, nn.GroupNorm):
                module.norm1, module.norm2 = _NormSilu(module.norm1), _NormSilu(module.norm2)
                module.activation = nn.Identity()
        elif isinstance(module, Encoder | Decoder) and isinstance(module.conv_norm_out, nn.GroupNorm):
            module.conv_norm_out, module.conv_act = _NormSilu(module.conv_norm_out), nn.Identity()


def check(dtype: torch.dtype) -> None:
    """Raise :class:`ArithmeticError` where the fused layer of a type differs from PyTorch's by more than rounding."""
    norm = nn.GroupNorm(32, 96)
    planes = torch.linspace(-3, 2, 96 * 5 * 7).sin().view(1, 7, 5, 96).permute(0, 3, 2, 1)
    with torch.inference_mode():
        theirs = functional.silu(norm(planes))
        compare(f"a group norm in {dtype}", _NormSilu(norm)(planes.to(dtype)), theirs, BOUNDS[dtype])


class _NormSilu(nn.Module):
    """Replacement of a group norm and of the SiLU after it."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, planes: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W), channels-last in memory."""
        features = planes.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
        norm = self.norm
        terms = group_terms(features, norm.num_groups, norm.eps, norm.weight.float(), norm.bias.float())
        return normed(features, terms, planes.dtype, has_silu=True).permute(0, 3, 1, 2)
