"""File names and return types that both kinds of autoencoder share."""

from dataclasses import dataclass

from torch import Tensor

CONFIG = "config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
LOG_VARIANCES = (-30.0, 20.0)  # range that the logarithm of the variance is clamped to


@dataclass(frozen=True)
class LatentDistribution:
    """Normal distribution of latents: ``mean`` and ``logvar``, each (B, C, h, w)."""

    mean: Tensor
    logvar: Tensor

    @property
    def std(self) -> Tensor:
        """(B, C, h, w)."""
        return (0.5 * self.logvar).exp()


@dataclass(frozen=True)
class Encoded:
    """Return value of ``encode``, with the field name of diffusers' ``AutoencoderKL``."""

    latent_dist: LatentDistribution


@dataclass(frozen=True)
class Decoded:
    """Return value of ``decode``, with the field name of ``AutoencoderKL``: ``sample``, (B, 3, H, W), about [-1, 1]."""

    sample: Tensor
