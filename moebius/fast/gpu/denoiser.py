"""The denoiser's layers for GPUs: the weights and results of :mod:`moebius.fast.blocks`, in fewer passes."""

from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from moebius.fast.blocks import FoldedSeparableConv, FoldedTransformer, add_branches
from moebius.fast.fold import ChannelsLastGroupNorm
from moebius.fast.gpu.contexts import meet_contexts
from moebius.fast.gpu.depthwise import gated_depthwise, norm_silu_depthwise
from moebius.fast.gpu.group_norm import group_terms, scaled
from moebius.fast.gpu.sums import add_and_norm


def fuse(denoiser: nn.Module) -> None:
    """Put fused layers into the place of those that they equal; the model is changed."""
    for module in list(denoiser.modules()):
        for name, child in module.named_children():
            if isinstance(child, FoldedSeparableConv) and child.norm is not None:
                setattr(module, name, _FusedSeparableConv(child))
            elif isinstance(child, FoldedTransformer):
                setattr(module, name, _FusedTransformer(child))


class _FusedSeparableConv(nn.Module):
    """In the place of :class:`FoldedSeparableConv` with a norm."""

    def __init__(self, conv: FoldedSeparableConv) -> None:
        super().__init__()
        self.norm = cast(ChannelsLastGroupNorm, conv.norm)
        self.depthwise, self.pointwise = conv.depthwise, conv.pointwise
        self.has_identity = conv.has_identity

    def forward(self, features: Tensor, bias: Tensor | None = None) -> Tensor:
        """(B, H, W, in_channels) → (B, H, W, out_channels); ``bias`` replaces that of the pointwise convolution."""
        norm, weight = self.norm, self.pointwise.weight
        bias = cast(Tensor, self.pointwise.bias) if bias is None else bias
        terms = group_terms(features, norm.groups, norm.eps, norm.weight, norm.bias)
        hidden, around = norm_silu_depthwise(features, *terms, self.depthwise, bias, weight.dtype, self.has_identity)
        if around is None:
            return functional.linear(hidden, weight, bias.to(weight.dtype))
        around.view(-1, around.shape[-1]).addmm_(hidden.view(-1, hidden.shape[-1]), weight.T)
        return around


class _FusedTransformer(nn.Module):
    """In the place of :class:`FoldedTransformer`."""

    def __init__(self, block: FoldedTransformer) -> None:
        super().__init__()
        self.norm, self.project_in, self.project_out = block.norm, block.project_in, block.project_out
        self.local, self.interactive, self.feed_forward = block.local, block.interactive, block.feed_forward

    def forward(self, features: Tensor, samples: int, branches: int) -> Tensor:
        """(samples or branches·samples, H, W, C) → (branches·samples, H, W, C), branch by branch, float32."""
        local, interactive, feed_forward = self.local, self.interactive, self.feed_forward
        terms = group_terms(features, self.norm.groups, self.norm.eps)
        stream = self.project_in(scaled(features, *terms, self.project_in.weight.dtype)).float()
        _, hidden = add_and_norm(stream, None, local.norm.eps, local.project.weight.dtype)
        hidden = local.attend(local.project(hidden))
        stream, hidden = add_and_norm(stream, hidden, interactive.norm.eps, interactive.query.weight.dtype)
        table, values = interactive.table[:branches], interactive.values[:branches]
        hidden = meet_contexts(interactive.query(hidden), table, values, samples)
        stream, hidden = add_and_norm(stream, hidden, feed_forward.norm.eps, feed_forward.project.weight.dtype)
        value, gate = (expand(hidden) for expand in feed_forward.expand)
        hidden = gated_depthwise(value, gate, *feed_forward.depthwise)
        stream.add_(feed_forward.project(hidden))
        return add_branches(features, self.project_out(stream))
