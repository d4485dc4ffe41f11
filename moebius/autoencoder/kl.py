"""The autoencoder of Stable Diffusion and SDXL, by the keys and the ``config.json`` of diffusers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from moebius.autoencoder.interface import CONFIG, LOG_VARIANCES, WEIGHTS, Decoded, Encoded, LatentDistribution
from moebius.autoencoder.kl_layers import Downsample, MidBlock, Upsample, group_norm, levels
from moebius.checkpoint import CheckpointError, check_entries, read_state_dict, write_state_dict

CLASS_NAME = "AutoencoderKL"
PICKLED_WEIGHTS = "diffusion_pytorch_model.bin"
MAX_SLICE_PX = 4 * 512 * 512  # pixels of the images that are computed at once
# Attention's layers in older checkpoints → as they are named today.
OLD_NAMES = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


@dataclass(frozen=True)
class KlAutoencoderConfig:
    """Sizes of the autoencoder, with the names and defaults of the published ``config.json``.

    Args:
        block_out_channels: widths, from the finest resolution to the coarsest; each halves the one before.
        layers_per_block: residual blocks of the encoder at each resolution; the decoder has one more.
        latent_channels: channels of the latents.
        norm_num_groups: groups of each norm.
        scaling_factor: gives the latents the deviation 1.
        in_channels, out_channels: channels of the images.
        use_quant_conv, use_post_quant_conv: whether a 1×1 convolution follows the encoder, precedes the decoder.
        mid_block_add_attention: whether there is attention at the coarsest resolution.
    """

    block_out_channels: tuple[int, ...] = (64,)
    layers_per_block: int = 1
    latent_channels: int = 4
    norm_num_groups: int = 32
    scaling_factor: float = 0.18215
    in_channels: int = 3
    out_channels: int = 3
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "block_out_channels", tuple(self.block_out_channels))  # JSON has lists only
        sizes = {name: value for name, value in asdict(self).items() if name.endswith(("channels", "block", "groups"))}
        for name, value in sizes.items():
            for size in value if isinstance(value, tuple) and value else [value]:
                if not isinstance(size, int) or size < 1:
                    raise ValueError(f"{name} must be positive integers, got {value!r}")
        if not isinstance(self.scaling_factor, int | float) or not self.scaling_factor > 0:
            raise ValueError(f"scaling_factor must be a positive number, got {self.scaling_factor!r}")

    @classmethod
    def from_published(cls, published: Any) -> KlAutoencoderConfig:
        """Read the fields of a ``config.json``; those that say nothing about the network are ignored.

        Raises:
            ValueError: another kind of network, or a size that is none.
        """
        if not isinstance(published, dict):
            raise ValueError(f"{CONFIG} must hold a JSON object")
        config = cls(**{field.name: published[field.name] for field in fields(cls) if field.name in published})
        for name, ours in config._kind().items():
            theirs = published.get(name, ours)
            if theirs != ours:
                raise ValueError(f"{name} must be {ours}, got {theirs}")
        return config

    def to_published(self) -> dict[str, Any]:
        """Return the content of a ``config.json``."""
        return {**self._kind(), **asdict(self)}

    def _kind(self) -> dict[str, Any]:
        """Return the fields that have one value in all networks of this kind."""
        count = len(self.block_out_channels)
        return {
            "_class_name": CLASS_NAME,
            "act_fn": "silu",
            "down_block_types": ["DownEncoderBlock2D"] * count,
            "up_block_types": ["UpDecoderBlock2D"] * count,
        }


class Encoder(nn.Module):
    """Images → mean and logarithm of the variance of latents."""

    def __init__(self, config: KlAutoencoderConfig) -> None:
        super().__init__()
        widths, layers, groups = config.block_out_channels, config.layers_per_block, config.norm_num_groups
        self.conv_in = nn.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.down_blocks = levels(widths, layers, groups, "downsamplers", Downsample)
        self.mid_block = MidBlock(widths[-1], groups, config.mid_block_add_attention)
        self.conv_norm_out: nn.Module = group_norm(groups, widths[-1])
        self.conv_act: nn.Module = nn.SiLU()
        self.conv_out = nn.Conv2d(widths[-1], 2 * config.latent_channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W) → (B, 2C, h, w)."""
        planes = self.mid_block(self.down_blocks(self.conv_in(images)))
        return self.conv_out(self.conv_act(self.conv_norm_out(planes)))


class Decoder(nn.Module):
    """Latents → images."""

    def __init__(self, config: KlAutoencoderConfig) -> None:
        super().__init__()
        widths, layers, groups = config.block_out_channels[::-1], config.layers_per_block + 1, config.norm_num_groups
        self.conv_in = nn.Conv2d(config.latent_channels, widths[0], 3, padding=1)
        self.mid_block = MidBlock(widths[0], groups, config.mid_block_add_attention)
        self.up_blocks = levels(widths, layers, groups, "upsamplers", Upsample)
        self.conv_norm_out: nn.Module = group_norm(groups, widths[-1])
        self.conv_act: nn.Module = nn.SiLU()
        self.conv_out = nn.Conv2d(widths[-1], config.out_channels, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """(B, C, h, w) → (B, out_channels, H, W)."""
        planes = self.up_blocks(self.mid_block(self.conv_in(latents)))
        return self.conv_out(self.conv_act(self.conv_norm_out(planes)))


class KlAutoencoder(nn.Module):
    """Encoder and decoder; large batches are computed in slices, so that memory does not grow with the batch."""

    def __init__(self, config: KlAutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quant_conv = _pointwise(2 * config.latent_channels, config.use_quant_conv)
        self.post_quant_conv = _pointwise(config.latent_channels, config.use_post_quant_conv)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return next(self.parameters()).dtype

    def encode(self, images: Tensor) -> Encoded:
        """(B, in_channels, H, W) in [-1, 1] → distribution of (B, C, h, w)."""
        area_px = images.shape[-2] * images.shape[-1]
        moments = _in_slices(self.encode_slice, images, area_px)
        mean, logvar = moments.chunk(2, dim=1)
        return Encoded(LatentDistribution(mean, logvar.clamp(*LOG_VARIANCES)))

    def decode(self, latents: Tensor) -> Decoded:
        """(B, C, h, w) → (B, out_channels, H, W)."""
        area_px = latents.shape[-2] * latents.shape[-1] * 4 ** (len(self.config.block_out_channels) - 1)
        return Decoded(_in_slices(self.decode_slice, latents, area_px))

    def encode_slice(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W) → mean and logarithm of the variance, (B, 2C, h, w), all in one call."""
        return self.quant_conv(self.encoder(images))

    def decode_slice(self, latents: Tensor) -> Tensor:
        """(B, C, h, w) → (B, out_channels, H, W), all in one call."""
        return self.decoder(self.post_quant_conv(latents))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json`` and the weights, as diffusers reads them, too."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).write_text(json.dumps(self.config.to_published(), indent=1) + "\n")
        write_state_dict(self.state_dict(), folder / WEIGHTS)


def load_kl_autoencoder(folder: str | Path) -> KlAutoencoder:
    """Read ``config.json`` and the weights beside it, in evaluation mode and float32.

    Raises:
        CheckpointError: a file is missing or unreadable, another kind of autoencoder, or keys or shapes that differ.
    """
    folder = Path(folder)
    try:
        config = KlAutoencoderConfig.from_published(json.loads((folder / CONFIG).read_text()))
        with torch.device("meta"):
            vae = KlAutoencoder(config)
    except (OSError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder} holds no readable autoencoder: {error}") from error
    weights = next((path for path in (folder / WEIGHTS, folder / PICKLED_WEIGHTS) if path.is_file()), folder / WEIGHTS)
    state = {_todays_name(key): value.float() for key, value in read_state_dict(weights).items()}
    check_entries(state, vae.state_dict(), f"the autoencoder in {folder} does not fit its {CONFIG}")
    vae.load_state_dict(state, assign=True)
    return vae.eval().requires_grad_(False)


def _todays_name(key: str) -> str:
    if ".mid_block.attentions." in key:
        for old, new in OLD_NAMES.items():
            key = key.replace(old, new)
    return key


def _pointwise(channels: int, is_used: bool) -> nn.Module:
    return nn.Conv2d(channels, channels, 1) if is_used else nn.Identity()


def _in_slices(compute: Callable[[Tensor], Tensor], batch: Tensor, area_px: int) -> Tensor:
    """Compute a batch in slices of equal size: a sample's result must not depend on its place in the batch."""
    largest = min(len(batch), MAX_SLICE_PX // area_px)
    slices = -(-len(batch) // max(1, largest))
    size = -(-len(batch) // slices)
    missing = slices * size - len(batch)
    padded = torch.cat([batch, batch[:missing]]) if missing else batch
    # A captured step returns the same memory each time.
    return torch.cat([compute(part).clone() for part in padded.split(size)])[: len(batch)]
