"""The denoiser's blocks on channels-last maps, with constants folded; the counterpart of ``moebius.network.blocks``."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from moebius.fast.fold import ChannelNorm, ChannelsLastConv, ChannelsLastGroupNorm, fold_norm, linear
from moebius.fast.interactive_lambda import FoldedInteractiveLambda
from moebius.fast.local_lambda import fold_local
from moebius.network.blocks import DepthwiseSeparableConv, LambdaTransformer, MixFeedForward, ResidualBlock


class FoldedSeparableConv(nn.Module):
    """Depthwise 3×3, ReLU, pointwise, with both batch norms in the weights; group norm and SiLU before, if there."""

    def __init__(self, conv: DepthwiseSeparableConv, norm: nn.GroupNorm | None = None) -> None:
        super().__init__()
        self.norm = None if norm is None else ChannelsLastGroupNorm(norm)
        weight, bias = fold_norm(conv.depthwise.weight, conv.depthwise_norm)
        self.depthwise = ChannelsLastConv(weight, bias, groups=conv.depthwise.groups)
        self.pointwise = linear(*fold_norm(conv.pointwise.weight, conv.pointwise_norm))
        self.has_identity = conv.has_identity

    def forward(self, features: Tensor, bias: Tensor | None = None) -> Tensor:
        """(B, H, W, in_channels) → (B, H, W, out_channels); ``bias`` replaces that of the pointwise convolution."""
        if self.norm is not None:
            features = functional.silu(self.norm(features), inplace=True)
        output = self.pointwise(self.depthwise(features).relu_(), bias)
        return output.add_(features) if self.has_identity else output


class FoldedResidualBlock(nn.Module):
    """Two depthwise separable convolutions and a shortcut; the time embedding is the bias of the first."""

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        self.conv_in = FoldedSeparableConv(block.conv_in, block.norm_in)
        self.conv_out = FoldedSeparableConv(block.conv_out, block.norm_out)
        shortcut = block.shortcut
        self.shortcut = linear(shortcut.weight, shortcut.bias) if isinstance(shortcut, nn.Conv2d) else nn.Identity()

    def forward(self, features: Tensor, time_bias: Tensor) -> Tensor:
        """(B, H, W, in_channels), (out_channels,) → (B, H, W, out_channels)."""
        hidden = self.conv_out(self.conv_in(features, time_bias))
        return hidden.float().add_(self.shortcut(features))


class ChannelsLastFeedForward(nn.Module):
    """Mix-FFN with values and gates in tensors of their own, and the norm before it."""

    def __init__(self, norm: nn.LayerNorm, layer: MixFeedForward) -> None:
        super().__init__()
        expand, depthwise = layer.expand, layer.depthwise
        assert expand.bias is not None and depthwise.bias is not None
        halves = zip(
            *(part.detach().chunk(2) for part in (expand.weight, expand.bias, depthwise.weight, depthwise.bias)),
            strict=True,
        )
        self.norm = ChannelNorm(norm)
        self.expand, self.depthwise = nn.ModuleList(), nn.ModuleList()
        for expand_weight, expand_bias, depthwise_weight, depthwise_bias in halves:
            self.expand.append(linear(expand_weight, expand_bias, norm))
            self.depthwise.append(ChannelsLastConv(depthwise_weight, depthwise_bias, groups=depthwise_weight.shape[0]))
        self.project = linear(layer.project.weight)

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, C) → (B, H, W, C)."""
        features = self.norm(features).to(self.project.weight.dtype)
        value, gate = (
            depthwise(functional.silu(expand(features), inplace=True))
            for expand, depthwise in zip(self.expand, self.depthwise, strict=True)
        )
        return self.project(functional.silu(gate, inplace=True).mul_(value))


class FoldedTransformer(nn.Module):
    """Local-λ, Interactive-λ of known contexts and Mix-FFN between two 1×1 convolutions."""

    def __init__(self, block: LambdaTransformer, side: int, contexts: Tensor) -> None:
        super().__init__()
        self.norm = ChannelsLastGroupNorm(block.norm, affine=False)
        self.project_in = linear(block.project_in.weight, block.project_in.bias, block.norm)
        self.local = fold_local(block.local_norm, block.local, side)
        self.interactive = FoldedInteractiveLambda(block.interactive_norm, block.interactive, contexts)
        self.feed_forward = ChannelsLastFeedForward(block.feed_forward_norm, block.feed_forward)
        self.project_out = linear(block.project_out.weight, block.project_out.bias)

    def forward(self, features: Tensor, samples: int, branches: int) -> Tensor:
        """(samples or branches·samples, H, W, C) → (branches·samples, H, W, C), branch by branch, float32."""
        hidden = self.project_in(self.norm(features)).float()
        hidden = hidden.add_(self.local(hidden))
        hidden = add_branches(hidden, self.interactive(hidden, samples, branches))
        hidden = hidden.add_(self.feed_forward(hidden))
        return add_branches(features, self.project_out(hidden))


def add_branches(features: Tensor, change: Tensor) -> Tensor:
    """Add a change that differs by branch to a map: in place, or to copies where the branches still share the map."""
    if features.shape[0] == change.shape[0]:
        return features.add_(change)
    return (change.unflatten(0, (-1, features.shape[0])) + features).flatten(0, 1)


def join_channels(features: Tensor, skip: Tensor) -> Tensor:
    """Concatenate along the channels; a skip connection that the branches share is repeated."""
    if features.shape[0] != skip.shape[0]:
        skip = skip.repeat(features.shape[0] // skip.shape[0], 1, 1, 1)
    return torch.cat([features, skip], dim=-1)
