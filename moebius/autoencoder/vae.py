"""The autoencoder between pixels and latents: the published kind, or our small one, behind two calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from moebius.autoencoder.colour_spread import spread_colours
from moebius.autoencoder.interface import CONFIG
from moebius.autoencoder.kl import KlAutoencoder, load_kl_autoencoder
from moebius.autoencoder.small import CLASS_NAME, SmallAutoencoder, load_small_autoencoder
from moebius.checkpoint import CheckpointError
from moebius.network.config import MoebiusConfig

Autoencoder: TypeAlias = KlAutoencoder | SmallAutoencoder


def load_vae(folder: str | Path) -> Autoencoder:
    """Load ``config.json`` and its weights (safetensors, or ``.bin`` without running pickled code), in evaluation mode.

    The configuration says which of the two kinds it is.

    Raises:
        CheckpointError: a file is missing, unreadable, or does not hold exactly the keys of its configuration.
    """
    if _class_name(Path(folder) / CONFIG) == CLASS_NAME:
        return load_small_autoencoder(folder)
    return load_kl_autoencoder(folder)


def _class_name(path: Path) -> str | None:
    try:
        fields = json.loads(path.read_text())
    except (OSError, ValueError):
        return None  # the loader of the published kind says what is wrong
    return fields.get("_class_name") if isinstance(fields, dict) else None


def check_latents(vae: Autoencoder, config: MoebiusConfig) -> None:
    """Refuse an autoencoder whose latents are not those of a denoiser.

    Raises:
        CheckpointError: another number of channels.
    """
    ours, theirs = vae.config.latent_channels, config.latent_channels
    if ours != theirs:
        raise CheckpointError(f"the autoencoder has latents of {ours} channels, the denoiser of {theirs}")


def spreads_colours(vae: Autoencoder) -> bool:
    """Return whether a hole is encoded as the colours around it, where sampling can start; others encode it as grey."""
    return isinstance(vae, SmallAutoencoder)


def spread_latents(vae: Autoencoder, masked: Tensor, holes: Tensor) -> Tensor:
    """Return latents of the colours around holes, spread over them: where sampling can start.

    Those of a small autoencoder are that already. Of others, the latents themselves are spread, so that no other image
    has to be encoded; a position is known where all of its pixels are.

    Args:
        vae: the autoencoder.
        masked: (B, C, h, w), latents of the images with blanked holes.
        holes: (B, 1, H, W), 1 = blanked.

    Returns:
        (B, C, h, w); 0 where nothing is known.
    """
    if isinstance(vae, SmallAutoencoder):
        return masked
    unknown = functional.adaptive_max_pool2d(holes, masked.shape[-2:])
    return spread_colours(masked * (1 - unknown), unknown)


def encode(vae: Autoencoder, images: Tensor, noise: Tensor, holes: Tensor | None = None) -> Tensor:
    """Sample the posterior of images.

    Args:
        vae: the autoencoder.
        images: (B, 3, H, W) in [-1, 1].
        noise: (B, C, h, w), standard normal: it makes a sample of the distribution.
        holes: (B, 1, H, W), 1 = blanked in the images; a small autoencoder spreads the colours around over it.

    Returns:
        (B, C, h, w) float32, scaled latents.
    """
    if isinstance(vae, SmallAutoencoder) and holes is not None:
        posterior = vae.encode(images.to(vae.dtype), holes.to(vae.dtype)).latent_dist
    else:
        posterior = vae.encode(images.to(vae.dtype)).latent_dist
    return (posterior.mean.float() + posterior.std.float() * noise) * vae.config.scaling_factor


def encode_pairs(vae: Autoencoder, images: Tensor, holes: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Sample the posteriors of images and of the same with blanked holes, in one batch.

    Args:
        vae: the autoencoder.
        images: (B, 3, H, W) in [-1, 1].
        holes: (B, 1, H, W), 1 = repaint.
        noise: (2, B, C, h, w), standard normal: of the images and of the blanked ones.

    Returns:
        Twice (B, C, h, w) float32, scaled latents.
    """
    both, masks = torch.cat([images, images * (1 - holes)]), torch.cat([torch.zeros_like(holes), holes])
    clean, masked = encode(vae, both, noise.flatten(0, 1), masks).chunk(2)
    return clean, masked


def decode(vae: Autoencoder, latents: Tensor, blanked: Tensor | None = None, holes: Tensor | None = None) -> Tensor:
    """Decode scaled latents.

    Args:
        vae: the autoencoder.
        latents: (B, C, h, w), scaled.
        blanked: (B, 3, H, W) in [-1, 1], the images with 0 in their holes; a small autoencoder looks at what is known.
        holes: (B, 1, H, W), 1 = repaint.

    Returns:
        (B, 3, H, W) float32, about [-1, 1].
    """
    unscaled = (latents / vae.config.scaling_factor).to(vae.dtype)
    if isinstance(vae, SmallAutoencoder) and blanked is not None and holes is not None:
        return vae.decode(unscaled, blanked.to(vae.dtype), holes.to(vae.dtype)).sample.float()
    return vae.decode(unscaled).sample.float()
