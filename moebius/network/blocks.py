"""Building blocks of the denoiser: depthwise residual block, λ transformer, resamplers."""

from torch import Tensor, nn
from torch.nn import functional

from moebius.network.config import GROUP_NORM_GROUPS, MoebiusConfig
from moebius.network.lambda_layers import InteractiveLambda, LocalLambda


class DepthwiseSeparableConv(nn.Module):
    """Depthwise 3×3 → BatchNorm → ReLU → pointwise 1×1 → BatchNorm, plus the input where widths agree."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(in_channels)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.pointwise_norm = nn.BatchNorm2d(out_channels)
        self.has_identity = in_channels == out_channels

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, H, W) → (B, out_channels, H, W)."""
        hidden = functional.relu(self.depthwise_norm(self.depthwise(features)))
        output = self.pointwise_norm(self.pointwise(hidden))
        return output + features if self.has_identity else output


class ResidualBlock(nn.Module):
    """Two depthwise separable convolutions with the time embedding between them, and a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, time_width: int) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(GROUP_NORM_GROUPS, in_channels)
        self.conv_in = DepthwiseSeparableConv(in_channels, out_channels)
        self.time = nn.Linear(time_width, out_channels)
        self.norm_out = nn.GroupNorm(GROUP_NORM_GROUPS, out_channels)
        self.conv_out = DepthwiseSeparableConv(out_channels, out_channels)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, features: Tensor, time: Tensor) -> Tensor:
        """(B, in_channels, H, W), (B, time_width) → (B, out_channels, H, W)."""
        hidden = self.conv_in(functional.silu(self.norm_in(features)))
        hidden = hidden + self.time(functional.silu(time))[:, :, None, None]
        hidden = self.conv_out(functional.silu(self.norm_out(hidden)))
        return hidden + self.shortcut(features)


class MixFeedForward(nn.Module):
    """Gated feed-forward layer with a depthwise 3×3 convolution inside (Mix-FFN)."""

    def __init__(self, channels: int, ratio: float) -> None:
        super().__init__()
        hidden = int(channels * ratio)
        self.expand = nn.Conv2d(channels, 2 * hidden, 1)
        self.depthwise = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden)
        self.project = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        value, gate = self.depthwise(functional.silu(self.expand(features))).chunk(2, dim=1)
        return self.project(value * functional.silu(gate))


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of a (B, C, H, W) map."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        return super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class LambdaTransformer(nn.Module):
    """Local-λ, Interactive-λ and Mix-FFN, each on a normed residual branch, between two 1×1 convolutions (LλMI)."""

    def __init__(self, channels: int, positions: int, config: MoebiusConfig) -> None:
        super().__init__()
        context_length = config.categories // 2
        self.norm = nn.GroupNorm(GROUP_NORM_GROUPS, channels, eps=1e-6)
        self.project_in = nn.Conv2d(channels, channels, 1)
        self.local_norm = ChannelNorm(channels)
        self.local = LocalLambda(channels, config.heads, config.local_window)
        self.interactive_norm = ChannelNorm(channels)
        self.interactive = InteractiveLambda(channels, config.heads, config.context_width, context_length, positions)
        self.feed_forward_norm = ChannelNorm(channels)
        self.feed_forward = MixFeedForward(channels, config.ffn_ratio)
        self.project_out = nn.Conv2d(channels, channels, 1)

    def forward(self, features: Tensor, context: Tensor) -> Tensor:
        """(B, C, H, W), (B, L, context_width) → (B, C, H, W)."""
        hidden = self.project_in(self.norm(features))
        hidden = hidden + self.local(self.local_norm(hidden))
        hidden = hidden + self.interactive(self.interactive_norm(hidden), context)
        hidden = hidden + self.feed_forward(self.feed_forward_norm(hidden))
        return self.project_out(hidden) + features


class Downsample(nn.Conv2d):
    """Stride-2 3×3 convolution: (B, C, H, W) → (B, C, H/2, W/2)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, stride=2, padding=1)


class Upsample(nn.Conv2d):
    """Nearest ×2, then a 3×3 convolution: (B, C, H, W) → (B, C, 2H, 2W)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, 2H, 2W)."""
        return super().forward(functional.interpolate(features, scale_factor=2.0, mode="nearest"))
