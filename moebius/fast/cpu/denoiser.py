"""Layers of the denoiser for CPUs: the weights and results of :mod:`moebius.fast.blocks` in fewer passes."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from moebius.fast.blocks import FoldedResidualBlock, FoldedSeparableConv, FoldedTransformer, add_branches
from moebius.fast.cpu.depthwise import Taps, gated_depthwise, norm_silu_depthwise
from moebius.fast.cpu.group_norm import Norm, group_terms
from moebius.fast.cpu.local_lambda import fuse_local
from moebius.fast.cpu.product import Product, has_tiles
from moebius.fast.fold import ChannelsLastConv, ChannelsLastGroupNorm, Linear, replace_layers


def fuse(module: nn.Module) -> None:
    """Replace layers by fused ones that equal them, then the layers inside these; the model is changed."""
    replace_layers(module, _fused)


def _fused(layer: nn.Module) -> nn.Module:
    """Return the replacement of a layer, which for most is the layer itself."""
    if isinstance(layer, ChannelsLastConv) and layer.stride == 2 and has_tiles():
        return _StridedConv(layer)
    for kind, fused in _FUSED.items():
        if isinstance(layer, kind):
            return fused(layer)
    return layer


class _FusedSeparableConv(nn.Module):
    """Replacement of :class:`FoldedSeparableConv`."""

    def __init__(self, conv: FoldedSeparableConv) -> None:
        super().__init__()
        self.norm, self.taps, self.pointwise = conv.norm, Taps(conv.depthwise), conv.pointwise
        self.has_identity = conv.has_identity

    def forward(self, features: Tensor, bias: Tensor | None = None) -> Tensor:
        """(B, H, W, in_channels) → (B, H, W, out_channels) float32; ``bias`` replaces the pointwise convolution's."""
        features = features.float()
        norm = None if self.norm is None else _terms(features, self.norm)
        hidden, around = norm_silu_depthwise(features, norm, self.taps, self.pointwise.dtype, self.has_identity)
        return self.pointwise(hidden, bias, into=around)


class _FusedResidualBlock(nn.Module):
    """Replacement of :class:`FoldedResidualBlock`."""

    def __init__(self, block: FoldedResidualBlock) -> None:
        super().__init__()
        self.conv_in, self.conv_out, self.shortcut = block.conv_in, block.conv_out, block.shortcut

    def forward(self, features: Tensor, time_bias: Tensor) -> Tensor:
        """(B, H, W, in_channels), (out_channels,) → (B, H, W, out_channels) float32."""
        hidden = self.conv_out(self.conv_in(features, time_bias))
        if isinstance(self.shortcut, nn.Identity):
            return hidden.add_(features)
        return self.shortcut(features, into=hidden)


class _FusedTransformer(nn.Module):
    """Replacement of :class:`FoldedTransformer`."""

    def __init__(self, block: FoldedTransformer) -> None:
        super().__init__()
        self.norm, self.project_in, self.project_out = block.norm, block.project_in, block.project_out
        self.local, self.interactive = fuse_local(block.local), block.interactive
        feed_forward = block.feed_forward
        self.feed_forward_eps = feed_forward.norm.eps
        self.expand = _side_by_side([cast(Linear, half) for half in feed_forward.expand])
        self.taps = Taps(*(cast(ChannelsLastConv, half) for half in feed_forward.depthwise))
        self.contract = feed_forward.project

    def forward(self, features: Tensor, samples: int, branches: int) -> Tensor:
        """(samples or branches·samples, H, W, C) → (branches·samples, H, W, C), branch by branch, float32."""
        interactive = self.interactive
        stream = self.project_in(features, norm=_terms(features, self.norm))
        stream = self.local(stream)
        queries = interactive.query(stream, norm=Norm(interactive.norm.eps))
        stream = add_branches(stream, interactive.meet(queries, samples, branches))
        expanded = self.expand(stream, norm=Norm(self.feed_forward_eps), dtype=self.contract.dtype)
        self.contract(gated_depthwise(expanded, self.taps), into=stream)
        if features.shape == stream.shape:
            return self.project_out(stream, into=features)
        return add_branches(features, self.project_out(stream))


class _StridedConv(nn.Module):
    """Replacement of a 3×3 :class:`ChannelsLastConv` of stride 2: one product with the contents of its windows."""

    def __init__(self, conv: ChannelsLastConv) -> None:
        super().__init__()
        self.linear = Linear(conv.weight.permute(0, 2, 3, 1).flatten(1), conv.bias)
        self.linear.is_exact = conv.is_exact

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, in) → (B, H/2, W/2, out) float32."""
        windows = functional.pad(features, (0, 0, 1, 1, 1, 1)).unfold(1, 3, 2).unfold(2, 3, 2)
        return self.linear(windows.permute(0, 1, 2, 4, 5, 3).flatten(3))


def _terms(features: Tensor, norm: ChannelsLastGroupNorm) -> Norm:
    return group_terms(features, norm.groups, norm.eps, norm.weight, norm.bias)


def _side_by_side(layers: list[Linear]) -> Linear:
    """Join layers of the same input into one that computes their outputs side by side."""
    weights, biases = zip(*((layer.weight, cast(Tensor, layer.bias)) for layer in layers), strict=True)
    joined = Linear(torch.cat(weights), torch.cat(biases))
    joined.is_exact = any(layer.is_exact for layer in layers)
    return joined


_FUSED = {
    FoldedSeparableConv: _FusedSeparableConv,
    FoldedResidualBlock: _FusedResidualBlock,
    FoldedTransformer: _FusedTransformer,
    Linear: Product,
}
