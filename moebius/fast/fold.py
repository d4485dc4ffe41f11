"""Constants folded into weights: batch norms into the convolution before them, layers of channels-last maps."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from moebius.fast.products import product


def scale_and_shift(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Return a batch norm in evaluation mode as x·scale + shift, (C,) each."""
    assert norm.running_mean is not None and norm.running_var is not None  # always tracked in this model
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def fold_norm(weight: Tensor, norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Fold a batch norm into the convolution without bias before it, (out, …); return weight and bias."""
    scale, shift = scale_and_shift(norm)
    return weight * scale.view(-1, *[1] * (weight.dim() - 1)), shift


def linear(weight: Tensor, bias: Tensor | None = None, norm: nn.LayerNorm | nn.GroupNorm | None = None) -> "Linear":
    """Build a 1×1 convolution of channels-last maps from its weight (out, in) or (out, in, 1, 1).

    Scale and shift of a norm before it are folded in; :class:`ChannelNorm` and :class:`ChannelsLastGroupNorm` then
    leave them out. In bfloat16 that saves a rounding of the weights, too.
    """
    weight = weight.flatten(1)
    if norm is not None:
        shift = weight @ norm.bias
        weight, bias = weight * norm.weight, shift if bias is None else shift + bias
    return Linear(weight, bias)


class Linear(nn.Module):
    """1×1 convolution of channels-last maps, in the type of its weight whatever the type of its input."""

    is_exact = False  # whether float32 products must have all 24 bits, or may have 16 where that is faster

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = _constant(weight)
        self.bias = None if bias is None else _constant(bias)

    @property
    def dtype(self) -> torch.dtype:
        """Type that it computes in."""
        return self.weight.dtype

    @property
    def outputs(self) -> int:
        """Channels of the output."""
        return len(self.weight)

    def forward(self, features: Tensor, bias: Tensor | None = None) -> Tensor:
        """(…, in) → (…, out); ``bias`` replaces the layer's own."""
        rows = features.to(self.dtype).flatten(0, -2)  # of a slice, PyTorch would multiply row by row of the map
        bias = self.bias if bias is None else bias.to(self.dtype)
        return product(rows, self.weight, bias).view(*features.shape[:-1], -1)


class ChannelsLastConv(nn.Module):
    """Convolution of channels-last maps, padded to keep their size but for the stride, in the type of its weight."""

    is_exact = False  # see :class:`Linear`

    def __init__(self, weight: Tensor, bias: Tensor | None, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone(memory_format=torch.channels_last), requires_grad=False)
        self.bias = None if bias is None else _constant(bias)
        self.stride, self.groups = stride, groups

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, in) → (B, H/stride, W/stride, out)."""
        planes = features.to(self.weight.dtype).permute(0, 3, 1, 2)
        padding = self.weight.shape[-1] // 2
        output = functional.conv2d(planes, self.weight, self.bias, self.stride, padding, groups=self.groups)
        return output.permute(0, 2, 3, 1).contiguous()


class ChannelsLastGroupNorm(nn.Module):
    """Group norm of channels-last maps, float32; ``affine=False`` where a layer after it holds scale and shift."""

    def __init__(self, norm: nn.GroupNorm, affine: bool = True) -> None:
        super().__init__()
        self.groups, self.eps = norm.num_groups, norm.eps
        self.weight = _constant(norm.weight) if affine else None
        self.bias = _constant(norm.bias) if affine else None

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, C) → (B, H, W, C)."""
        planes = features.float().permute(0, 3, 1, 2)
        normed = functional.group_norm(planes, self.groups, self.weight, self.bias, self.eps)
        return normed.permute(0, 2, 3, 1).contiguous()


class ChannelNorm(nn.Module):
    """Layer norm over the channels of channels-last maps, float32; a layer after it holds scale and shift."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.eps = norm.eps

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, C) → (B, H, W, C)."""
        return functional.layer_norm(features.float(), features.shape[-1:], eps=self.eps)


def replace_layers(module: nn.Module, replaced: Callable[[nn.Module], nn.Module]) -> None:
    """Replace each layer by what a function returns for it, then the layers inside that; the module is changed."""
    for name, child in module.named_children():
        layer = replaced(child)
        setattr(module, name, layer)
        replace_layers(layer, replaced)


def _constant(value: Tensor) -> nn.Parameter:
    """Copy a value: an optimized layer shares no memory with the layer that it was made from."""
    return nn.Parameter(value.detach().clone(memory_format=torch.contiguous_format), requires_grad=False)
