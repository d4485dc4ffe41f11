"""Moebius denoiser: a three-level U-Net of depthwise residual blocks and λ transformers."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from moebius.network.blocks import DepthwiseSeparableConv, Downsample, LambdaTransformer, ResidualBlock, Upsample
from moebius.network.config import GROUP_NORM_GROUPS, MoebiusConfig
from moebius.network.functional import timestep_embedding

LAYERS_DOWN = 2
LAYERS_UP = 3


class TimeEmbedding(nn.Module):
    """Sinusoid → Linear → SiLU → Linear."""

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__()
        self.linear_in = nn.Linear(in_width, out_width)
        self.linear_out = nn.Linear(out_width, out_width)

    def forward(self, sinusoid: Tensor) -> Tensor:
        """(B, in_width) → (B, out_width)."""
        return self.linear_out(functional.silu(self.linear_in(sinusoid)))


class DownLevel(nn.Module):
    """Two layers (residual block, transformer), then a down-sampler; returns what the skip connections need."""

    def __init__(self, in_channels: int, channels: int, positions: int, is_last: bool, config: MoebiusConfig) -> None:
        super().__init__()
        widths = [in_channels] + [channels] * (LAYERS_DOWN - 1)
        self.residuals = nn.ModuleList(ResidualBlock(width, channels, config.time_width) for width in widths)
        self.transformers = nn.ModuleList(LambdaTransformer(channels, positions, config) for _ in widths)
        self.downsample = None if is_last else Downsample(channels)

    def forward(self, features: Tensor, time: Tensor, context: Tensor) -> list[Tensor]:
        """(B, in_channels, H, W) → every layer's output, the last one the level's."""
        outputs = []
        for residual, transformer in zip(self.residuals, self.transformers, strict=True):
            features = transformer(residual(features, time), context)
            outputs.append(features)
        if self.downsample is not None:
            outputs.append(self.downsample(features))
        return outputs


class UpLevel(nn.Module):
    """Three layers, each fed one skip connection, then an up-sampler."""

    def __init__(
        self, in_widths: list[int], channels: int, positions: int, is_last: bool, config: MoebiusConfig
    ) -> None:
        super().__init__()
        self.residuals = nn.ModuleList(ResidualBlock(width, channels, config.time_width) for width in in_widths)
        self.transformers = nn.ModuleList(LambdaTransformer(channels, positions, config) for _ in in_widths)
        self.upsample = None if is_last else Upsample(channels)

    def forward(self, features: Tensor, skips: list[Tensor], time: Tensor, context: Tensor) -> Tensor:
        """Consumes three ``skips`` from the end of the list; (B, C, H, W) → (B, channels, 2H, 2W), last level H, W."""
        for residual, transformer in zip(self.residuals, self.transformers, strict=True):
            features = residual(torch.cat([features, skips.pop()], dim=1), time)
            features = transformer(features, context)
        return features if self.upsample is None else self.upsample(features)


class Denoiser(nn.Module):
    """Predicts the noise in latents from the latents, the mask, the masked image's latents and ten category ids.

    Source: arXiv 2606.19195; equal to the published code (see ``tests/golden``).
    """

    def __init__(self, config: MoebiusConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.channels
        last = len(widths) - 1
        positions = [(config.latent_size >> level) ** 2 for level in range(len(widths))]
        in_channels = 2 * config.latent_channels + 1

        # Not filled by `normal_`, for which PyTorch loads its compiler where a checkpoint is to be read: a second.
        table = torch.randn(config.categories, config.category_width)
        self.categories = nn.Embedding.from_pretrained(table, freeze=False)
        self.context = nn.Linear(config.category_width, config.context_width)
        self.time = TimeEmbedding(widths[0], config.time_width)
        self.conv_in = DepthwiseSeparableConv(in_channels, widths[0])
        skips = [widths[0]]  # widths of the skip connections, in the order they are made
        self.down_levels = nn.ModuleList()
        for level, width in enumerate(widths):
            before = widths[max(level - 1, 0)]
            self.down_levels.append(DownLevel(before, width, positions[level], level == last, config))
            skips += [width] * (LAYERS_DOWN + (level != last))
        self.up_levels = nn.ModuleList()
        before = widths[-1]
        for level in range(last, -1, -1):
            width = widths[level]
            in_widths = [(before if layer == 0 else width) + skips.pop() for layer in range(LAYERS_UP)]
            self.up_levels.append(UpLevel(in_widths, width, positions[level], level == 0, config))
            before = width
        self.norm_out = nn.GroupNorm(GROUP_NORM_GROUPS, widths[0])
        self.conv_out = DepthwiseSeparableConv(widths[0], config.latent_channels)

    def forward(self, latents: Tensor, timesteps: Tensor, category_ids: Tensor) -> Tensor:
        """Predict the noise.

        Args:
            latents: (B, 2C + 1, h, w): noisy latents (C channels), mask (1; 1 = repaint), latents of the masked
                image (C).
            timesteps: (B,) or (1,), in 0 … 999.
            category_ids: (B, 10) int64.

        Returns:
            (B, C, h, w).

        Raises:
            ValueError: shapes that do not fit the configuration.
        """
        size = self.config.latent_size
        expected = (2 * self.config.latent_channels + 1, size, size)
        if latents.shape[1:] != expected:
            raise ValueError(f"latents must be (B, {', '.join(map(str, expected))}), got {tuple(latents.shape)}")
        context = self.context(self.categories(category_ids))
        sinusoid = timestep_embedding(timesteps, self.config.channels[0]).to(latents.dtype)
        time = self.time(sinusoid).expand(latents.shape[0], -1)
        features = self.conv_in(latents)
        skips = [features]
        for level in self.down_levels:
            outputs = level(features, time, context)
            skips += outputs
            features = outputs[-1]
        for level in self.up_levels:
            features = level(features, skips, time, context)
        return self.conv_out(functional.silu(self.norm_out(features)))
