"""Layers of the published autoencoder; attributes are named by the keys of its checkpoints."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

NORM_EPS = 1e-6


def group_norm(groups: int, channels: int) -> nn.GroupNorm:
    """Group norm as all layers of the autoencoder use it."""
    return nn.GroupNorm(groups, channels, NORM_EPS)


class ResnetBlock(nn.Module):
    """Norm, SiLU and 3×3 convolution, twice, added to the input or to a 1×1 convolution of it."""

    def __init__(self, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.norm1 = group_norm(groups, in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = group_norm(groups, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_shortcut = None if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, planes: Tensor) -> Tensor:
        """(B, in, H, W) → (B, out, H, W)."""
        hidden = self.conv1(functional.silu(self.norm1(planes)))
        hidden = self.conv2(functional.silu(self.norm2(hidden)))
        return hidden + (planes if self.conv_shortcut is None else self.conv_shortcut(planes))


class Attention(nn.Module):
    """Attention of a map with itself in one head, with the norm before it, added to the input."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.group_norm = group_norm(groups, channels)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def forward(self, planes: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        features = self.group_norm(planes.flatten(2)).transpose(1, 2)  # (B, N, C)
        queries, keys, values = (layer(features).unsqueeze(1) for layer in (self.to_q, self.to_k, self.to_v))
        attended = functional.scaled_dot_product_attention(queries, keys, values).squeeze(1)
        return self.to_out(attended).transpose(1, 2).reshape(planes.shape) + planes


class Downsample(nn.Module):
    """3×3 convolution of stride 2, padded on the right and at the bottom only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, planes: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H/2, W/2), rounded down."""
        return self.conv(functional.pad(planes, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Nearest neighbours, then a 3×3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, planes: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, 2H, 2W)."""
        return self.conv(functional.interpolate(planes, scale_factor=2.0, mode="nearest"))


class MidBlock(nn.Module):
    """Two residual blocks, and attention between them or none."""

    def __init__(self, channels: int, groups: int, has_attention: bool) -> None:
        super().__init__()
        first = ResnetBlock(channels, channels, groups)
        self.attentions = nn.Sequential(*(Attention(channels, groups) for _ in range(has_attention)))
        self.resnets = nn.ModuleList([first, ResnetBlock(channels, channels, groups)])

    def forward(self, planes: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        first, second = self.resnets
        return second(self.attentions(first(planes)))


def levels(
    widths: Sequence[int], layers: int, groups: int, resamplers: str, resampler: type[Downsample] | type[Upsample]
) -> nn.Sequential:
    """Return the residual blocks of each resolution, and between two resolutions the layer that changes it.

    Args:
        widths: channels at each resolution, in order.
        layers: residual blocks at each.
        groups: groups of each norm.
        resamplers: name of the list that holds the layer between.
        resampler: its kind.
    """
    stages: list[nn.Module] = []
    for in_channels, out_channels in pairwise([widths[0], *widths]):
        pairs = pairwise([in_channels, *[out_channels] * layers])
        stage = OrderedDict[str, nn.Module](resnets=nn.Sequential(*(ResnetBlock(*pair, groups) for pair in pairs)))
        if len(stages) < len(widths) - 1:
            stage[resamplers] = nn.Sequential(resampler(out_channels))
        stages.append(nn.Sequential(stage))
    return nn.Sequential(*stages)
