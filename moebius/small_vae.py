"""A small autoencoder of factor 4 for CPUs: convolutions at half and quarter resolution, no norms, no attention.

Half the layers of an ``AutoencoderKL`` of this size run at full resolution, where they cost most and see least; here
the first layer folds 2×2 pixels into channels and the last unfolds them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from moebius.checkpoint import CheckpointError, read_state_dict, write_state_dict

CLASS_NAME = "SmallAutoencoder"
CONFIG = "config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
LOG_VARIANCES = (-30.0, 20.0)


@dataclass(frozen=True)
class SmallAutoencoderConfig:
    """Sizes of the autoencoder.

    Args:
        half_channels: width at half resolution.
        channels: width at quarter resolution.
        encoder_blocks: residual blocks at quarter resolution before the latents.
        decoder_blocks: the same after them.
        latent_channels: channels of the latents.
        scaling_factor: what gives the latents of photos the deviation 1.
    """

    half_channels: int = 32
    channels: int = 96
    encoder_blocks: int = 2
    decoder_blocks: int = 3
    latent_channels: int = 4
    scaling_factor: float = 1.0


@dataclass(frozen=True)
class LatentDistribution:
    """Normal distribution of latents: ``mean`` and ``logvar``, each (B, 4, h, w)."""

    mean: Tensor
    logvar: Tensor

    @property
    def std(self) -> Tensor:
        """(B, 4, h, w)."""
        return (0.5 * self.logvar).exp()


@dataclass(frozen=True)
class Encoded:
    """What ``encode`` returns, as ``AutoencoderKL`` names it."""

    latent_dist: LatentDistribution


@dataclass(frozen=True)
class Decoded:
    """What ``decode`` returns, as ``AutoencoderKL`` names it: ``sample``, (B, 3, H, W), about [-1, 1]."""

    sample: Tensor


class PlainBlock(nn.Module):
    """Two 3×3 convolutions on a residual branch that starts at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_out = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        return features + self.conv_out(functional.silu(self.conv_in(functional.silu(features))))


class SmallAutoencoder(nn.Module):
    """Encoder and decoder behind the calls that this package makes of diffusers' ``AutoencoderKL``."""

    def __init__(self, config: SmallAutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        half, full, latent = config.half_channels, config.channels, config.latent_channels
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, half, 3, padding=1),
            PlainBlock(half),
            nn.Conv2d(half, full, 2, stride=2),
            *(PlainBlock(full) for _ in range(config.encoder_blocks)),
            nn.Conv2d(full, 2 * latent, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(latent, full, 3, padding=1),
            *(PlainBlock(full) for _ in range(config.decoder_blocks)),
            nn.Conv2d(full, 4 * half, 1),
            nn.PixelShuffle(2),
            PlainBlock(half),
            PlainBlock(half),
            nn.Conv2d(half, 12, 3, padding=1),
            nn.PixelShuffle(2),
        )

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return next(self.parameters()).dtype

    def encode(self, images: Tensor) -> Encoded:
        """(B, 3, H, W) in [-1, 1] → distribution of (B, 4, H/4, W/4)."""
        mean, logvar = self.encoder(images).chunk(2, dim=1)
        return Encoded(LatentDistribution(mean, logvar.clamp(*LOG_VARIANCES)))

    def decode(self, latents: Tensor) -> Decoded:
        """(B, 4, h, w) → (B, 3, 4h, 4w)."""
        return Decoded(self.decoder(latents))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json`` and the weights."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).write_text(json.dumps({"_class_name": CLASS_NAME, **asdict(self.config)}, indent=1) + "\n")
        write_state_dict(self.state_dict(), folder / WEIGHTS)


def load_small_autoencoder(folder: str | Path) -> SmallAutoencoder:
    """Read what :meth:`SmallAutoencoder.save_pretrained` wrote, in evaluation mode.

    Raises:
        CheckpointError: a configuration or weights that do not fit.
    """
    folder = Path(folder)
    try:
        fields = json.loads((folder / CONFIG).read_text())
        fields.pop("_class_name", None)
        vae = SmallAutoencoder(SmallAutoencoderConfig(**fields))
        vae.load_state_dict(read_state_dict(folder / WEIGHTS))
    except (OSError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"the autoencoder in {folder} does not fit its {CONFIG}: {error}") from error
    return vae.eval().requires_grad_(False)
