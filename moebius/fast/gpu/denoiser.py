"""Layers of the denoiser for GPUs: the weights and results of :mod:`moebius.fast.blocks` in fewer passes.

In float16, where the maps between the layers have the type of the products, sums join the products and passes are
fewer still. That way has been compiled and compared, but not timed; float32 and bfloat16 take the one that has.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from moebius.fast.blocks import FoldedResidualBlock, FoldedSeparableConv, FoldedTransformer, add_branches
from moebius.fast.fold import ChannelsLastConv, ChannelsLastGroupNorm, replace_layers
from moebius.fast.gpu.contexts import meet_contexts
from moebius.fast.gpu.depthwise import Taps, gated_depthwise, norm_silu_depthwise
from moebius.fast.gpu.group_norm import group_terms, normed
from moebius.fast.gpu.local_lambda import attend
from moebius.fast.gpu.local_scores import attend_by_scores
from moebius.fast.gpu.sums import add_and_norm, summed
from moebius.fast.gpu.upsample import FusedUpsample
from moebius.fast.local_lambda import TiledLocalLambda
from moebius.fast.upsample import FoldedUpsample


def fuse(module: nn.Module) -> None:
    """Replace layers by fused ones that equal them, then the layers inside these; the model is changed."""
    replace_layers(module, _fused)


def _fused(layer: nn.Module) -> nn.Module:
    """Return the replacement of a layer, which for most is the layer itself."""
    if isinstance(layer, FoldedResidualBlock):
        return _FusedResidualBlock(layer)
    if isinstance(layer, FoldedSeparableConv) and layer.norm is not None:
        return _FusedSeparableConv(layer)
    if isinstance(layer, FoldedUpsample) and layer.shared.dtype == torch.float16:
        return FusedUpsample(layer)
    return _FusedTransformer(layer) if isinstance(layer, FoldedTransformer) else layer


class _FusedResidualBlock(nn.Module):
    """Replaces :class:`FoldedResidualBlock`."""

    def __init__(self, block: FoldedResidualBlock) -> None:
        super().__init__()
        self.conv_in, self.conv_out, self.shortcut = block.conv_in, block.conv_out, block.shortcut

    def forward(self, features: Tensor, time_bias: Tensor) -> Tensor:
        """(B, H, W, in_channels), (out_channels,) → (B, H, W, out_channels) of the type of the features."""
        hidden, shortcut = self.conv_in(features, time_bias), self.shortcut(features)
        if features.dtype == torch.float16:
            return self.conv_out(hidden, added=shortcut)
        return summed(self.conv_out(hidden), shortcut, dtype=features.dtype)


class _FusedSeparableConv(nn.Module):
    """Replaces :class:`FoldedSeparableConv` with a norm."""

    def __init__(self, conv: FoldedSeparableConv) -> None:
        super().__init__()
        self.norm = cast(ChannelsLastGroupNorm, conv.norm)
        self.taps, self.pointwise = Taps(conv.depthwise), conv.pointwise
        self.has_identity = conv.has_identity

    def forward(self, features: Tensor, bias: Tensor | None = None, added: Tensor | None = None) -> Tensor:
        """(B, H, W, in_channels) → (B, H, W, out_channels).

        Args:
            features: the input.
            bias: (out_channels,), replaces that of the pointwise convolution.
            added: a map to add to the output of a block with an identity.
        """
        assert added is None or self.has_identity
        norm, weight = self.norm, self.pointwise.weight
        bias = cast(Tensor, self.pointwise.bias) if bias is None else bias
        terms = group_terms(features, norm.groups, norm.eps, norm.weight, norm.bias)
        hidden, around = norm_silu_depthwise(features, *terms, self.taps, bias, weight.dtype, self.has_identity, added)
        if around is None:
            return functional.linear(hidden, weight, bias.to(weight.dtype))
        return add_product(around, hidden, weight)


class _FusedTransformer(nn.Module):
    """Replaces :class:`FoldedTransformer`."""

    def __init__(self, block: FoldedTransformer) -> None:
        super().__init__()
        self.norm, self.project_in, self.project_out = block.norm, block.project_in, block.project_out
        self.local, self.interactive, self.feed_forward = block.local, block.interactive, block.feed_forward
        depthwise = block.feed_forward.depthwise
        self.taps = nn.ModuleList(Taps(cast(ChannelsLastConv, conv)) for conv in depthwise)

    def forward(self, features: Tensor, samples: int, branches: int) -> Tensor:
        """(samples or branches·samples, H, W, C) → (branches·samples, H, W, C), branch by branch, of the same type."""
        local, interactive, feed_forward = self.local, self.interactive, self.feed_forward
        terms = group_terms(features, self.norm.groups, self.norm.eps)
        stream = self.project_in(normed(features, *terms, self.project_in.weight.dtype))
        _, hidden = add_and_norm(stream, None, local.norm.eps, local.project.weight.dtype)
        projected, tile = local.project(hidden), 1
        if isinstance(local, TiledLocalLambda):
            way = attend_by_scores if projected.dtype == torch.float16 else attend
            hidden, tile = way(local, projected), local.tile
        else:
            hidden = local.attend(projected)
        stream, hidden = add_and_norm(stream, hidden, interactive.norm.eps, interactive.query.weight.dtype, tile)
        table, values = interactive.table[:branches], interactive.values[:branches]
        hidden = meet_contexts(interactive.query(hidden), table, values, samples)
        stream, hidden = add_and_norm(stream, hidden, feed_forward.norm.eps, feed_forward.project.weight.dtype)
        value, gate = (expand(hidden) for expand in feed_forward.expand)
        hidden = gated_depthwise(value, gate, *self.taps)
        if stream.dtype == torch.float16:
            stream = add_product(stream, hidden, feed_forward.project.weight)
        else:
            stream = summed(stream, feed_forward.project(hidden), dtype=self.project_out.dtype)
        change = self.project_out(stream)
        if features.dtype == torch.float16 or features.shape == change.shape:
            return summed(features, change)
        return add_branches(features, change)


def add_product(features: Tensor, hidden: Tensor, weight: Tensor) -> Tensor:
    """Add hidden @ weight.T to a map in place: (B, H, W, out), (B, H, W, in), (out, in), of one type."""
    features.view(-1, features.shape[-1]).addmm_(hidden.view(-1, hidden.shape[-1]), weight.T)
    return features
