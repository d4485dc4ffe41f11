"""A small autoencoder of factor 8 for CPUs, whose decoder sees the known pixels around a hole.

Half the layers of an ``AutoencoderKL`` run at full resolution, where they cost most and see least; here the first layer
folds 2×2 pixels into channels and the last unfolds them. Latents of eight times fewer positions cannot hold the pixels
between the strokes of a watermark; the decoder is shown those pixels themselves, as are the decoders for inpainting of
arXiv 2306.04632 (asymmetric VQGAN). Without them it decodes only latents.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from moebius.autoencoder.colour_spread import smooth_colours, spread_colours
from moebius.autoencoder.interface import CONFIG, LOG_VARIANCES, WEIGHTS, Decoded, Encoded, LatentDistribution
from moebius.checkpoint import CheckpointError, check_entries, read_state_dict, write_state_dict

CLASS_NAME = "SmallAutoencoder"
IMAGE_CHANNELS = 3
SMOOTHING_STEPS = 8  # of autoencoders that are trained from scratch
FACTOR = 8  # pixels per latent position along one side


@dataclass(frozen=True)
class SmallAutoencoderConfig:
    """Sizes of the autoencoder.

    Args:
        widths: channels at half, quarter and eighth resolution.
        encoder_blocks: residual blocks of the encoder at each of them.
        decoder_blocks: the same of the decoder.
        latent_channels: channels of the latents.
        scaling_factor: factor that gives the latents of photos the deviation 1.
        smoothing_steps: of :func:`smooth_colours` for the base of the decoder.
    """

    widths: tuple[int, int, int] = (32, 64, 128)
    encoder_blocks: tuple[int, int, int] = (1, 1, 2)
    decoder_blocks: tuple[int, int, int] = (2, 3, 2)
    latent_channels: int = 8
    scaling_factor: float = 1.0
    smoothing_steps: int = 0

    def __post_init__(self) -> None:
        for name in ("widths", "encoder_blocks", "decoder_blocks"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON has lists only
        if type(self.smoothing_steps) is not int or self.smoothing_steps < 0:
            raise ValueError(f"smoothing_steps must be an integer from 0, got {self.smoothing_steps!r}")


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


class Pyramid(nn.Module):
    """Maps at half, quarter and eighth resolution."""

    def __init__(self, in_channels: int, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        first = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * in_channels, widths[0], 3, padding=1))
        steps = [nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths)]
        self.levels = nn.ModuleList(
            nn.Sequential(step, *(PlainBlock(width) for _ in range(count)))
            for step, width, count in zip([first, *steps], widths, blocks, strict=True)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, in_channels, H, W) → the maps, finest first."""
        maps = [images]
        for level in self.levels:
            maps.append(level(maps[-1]))
        return maps[1:]


class Decoder(nn.Module):
    """Decoder of latents and known pixels to images."""

    def __init__(self, config: SmallAutoencoderConfig) -> None:
        super().__init__()
        widths = config.widths
        self.surroundings = Pyramid(IMAGE_CHANNELS + 1, widths, (1, 1, 1))
        self.conv_in = nn.Conv2d(config.latent_channels, widths[-1], 3, padding=1)
        self.levels = nn.ModuleList(
            nn.Sequential(*(PlainBlock(width) for _ in range(count)))
            for width, count in zip(widths, config.decoder_blocks, strict=True)
        )
        self.unfold = nn.ModuleList(
            nn.Sequential(nn.Conv2d(coarse, 4 * fine, 1), nn.PixelShuffle(2)) for fine, coarse in pairwise(widths)
        )
        self.conv_out = nn.Sequential(nn.Conv2d(widths[0], 4 * IMAGE_CHANNELS, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, latents: Tensor, known: Tensor) -> Tensor:
        """(B, C, h, w), and (B, 4, H, W) of spread colours and holes → (B, 3, H, W)."""
        maps = self.surroundings(known)
        features = self.levels[-1](self.conv_in(latents) + maps[-1])
        for level in reversed(range(len(self.unfold))):
            features = self.levels[level](self.unfold[level](features) + maps[level])
        return self.conv_out(features)


class SmallAutoencoder(nn.Module):
    """Encoder and decoder behind the calls that this package makes of diffusers' ``AutoencoderKL``."""

    def __init__(self, config: SmallAutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Pyramid(IMAGE_CHANNELS, config.widths, config.encoder_blocks)
        self.posterior = nn.Conv2d(config.widths[-1], 2 * config.latent_channels, 1)
        self.decoder = Decoder(config)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return next(self.parameters()).dtype

    def encode(self, images: Tensor, holes: Tensor | None = None) -> Encoded:
        """(B, 3, H, W) in [-1, 1] → distribution of (B, C, H/8, W/8).

        Args:
            images: the images to encode.
            holes: (B, 1, H, W), 1 = not known: there, colours spread from around are encoded.
        """
        if holes is not None:
            images = spread_colours(images * (1 - holes), holes)
        mean, logvar = self.posterior(self.encoder(images)[-1]).chunk(2, dim=1)
        return Encoded(LatentDistribution(mean, logvar.clamp(*LOG_VARIANCES)))

    def decode(self, latents: Tensor, blanked: Tensor | None = None, holes: Tensor | None = None) -> Decoded:
        """(B, C, h, w) → (B, 3, 8h, 8w).

        Args:
            latents: of whole images.
            blanked: (B, 3, 8h, 8w) in [-1, 1], 0 in the holes; ``None``: nothing is known.
            holes: (B, 1, 8h, 8w), 1 = not known.
        """
        if blanked is None or holes is None:
            batch, _, height, width = latents.shape
            holes = latents.new_ones(batch, 1, FACTOR * height, FACTOR * width)
            blanked = torch.zeros_like(holes).expand(-1, IMAGE_CHANNELS, -1, -1)
        colours = self.base(blanked, holes)
        return Decoded(colours + self.decoder(latents, torch.cat([colours, holes], dim=1)))

    def base(self, blanked: Tensor, holes: Tensor) -> Tensor:
        """Return the colours that the decoder corrects: (B, 3, H, W), those around holes spread over them."""
        colours = spread_colours(blanked, holes)
        if not self.config.smoothing_steps:
            return colours
        return smooth_colours(colours.float(), holes.float(), self.config.smoothing_steps).to(colours.dtype)

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
    refusal = f"the autoencoder in {folder} does not fit its {CONFIG}"
    try:
        fields = json.loads((folder / CONFIG).read_text())
        fields.pop("_class_name", None)
        vae = SmallAutoencoder(SmallAutoencoderConfig(**fields))
    except (OSError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{refusal}: {error}") from error
    state = read_state_dict(folder / WEIGHTS)
    check_entries(state, vae.state_dict(), refusal)
    vae.load_state_dict(state)
    return vae.eval().requires_grad_(False)
