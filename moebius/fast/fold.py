"""Constants folded into weights: batch norms into the convolution before them, layers of channels-last maps."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm


def scale_and_shift(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """A batch norm in evaluation mode as x·scale + shift, (C,) each."""
    assert norm.running_mean is not None and norm.running_var is not None  # always tracked in this model
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def fold_norm(weight: Tensor, norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution without bias, (out, …), that a batch norm follows."""
    scale, shift = scale_and_shift(norm)
    return weight * scale.view(-1, *[1] * (weight.dim() - 1)), shift


def linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """A 1×1 convolution of channels-last maps, from its weight (out, in) or (out, in, 1, 1)."""
    weight = weight.flatten(1)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.contiguous(), requires_grad=False)
    return layer


class ChannelsLastConv(nn.Module):
    """A 3×3 convolution, padding 1, of channels-last maps."""

    def __init__(self, weight: Tensor, bias: Tensor | None, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.stride, self.groups = stride, groups

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, in) → (B, H/stride, W/stride, out)."""
        planes = features.permute(0, 3, 1, 2)
        output = functional.conv2d(planes, self.weight, self.bias, self.stride, padding=1, groups=self.groups)
        return output.permute(0, 2, 3, 1).contiguous()


class ChannelsLastGroupNorm(nn.Module):
    """A group norm of channels-last maps."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups, self.eps = norm.num_groups, norm.eps
        self.weight = nn.Parameter(norm.weight.detach(), requires_grad=False)
        self.bias = nn.Parameter(norm.bias.detach(), requires_grad=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, C) → (B, H, W, C)."""
        planes = features.permute(0, 3, 1, 2)
        normed = functional.group_norm(planes, self.groups, self.weight, self.bias, self.eps)
        return normed.permute(0, 2, 3, 1).contiguous()


class LastNorm(nn.Module):
    """A layer norm over the channels of channels-last maps."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.eps = norm.eps
        self.weight = nn.Parameter(norm.weight.detach(), requires_grad=False)
        self.bias = nn.Parameter(norm.bias.detach(), requires_grad=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, C) → (B, H, W, C)."""
        return functional.layer_norm(features, self.weight.shape, self.weight, self.bias, self.eps)
