"""The two arrangements of a model, plain and for speed, made ready on a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from moebius.denoiser import Denoiser
from moebius.fast.autoencoder import arrange_vae
from moebius.fast.sampling import FastPrediction
from moebius.sampler import PlainPrediction
from moebius.schedule import ddim_timesteps
from moebius.settings import InpaintSettings

if TYPE_CHECKING:
    from moebius.vae import Autoencoder

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class ArrangedModel:
    """A model ready to sample.

    Args:
        predict: inputs (B, 2C + 1, h, w) and a timestep → guided noise (B, C, h, w) float32.
        vae: the autoencoder.
    """

    predict: PlainPrediction | FastPrediction
    vae: Autoencoder


def arrange(
    denoiser: Denoiser,
    vae: Autoencoder,
    settings: InpaintSettings,
    dtype: torch.dtype,
    device: torch.device,
    is_fast: bool,
) -> ArrangedModel:
    """Make a model ready; it may be changed by that.

    Args:
        denoiser, vae: in evaluation mode, float32.
        settings: whose steps, strength and guidance count, and whether the autoencoder is arranged for speed.
        dtype: of the computation.
        device: where.
        is_fast: whether the denoiser is arranged for speed; small ones are sooner as they are.
    """
    if is_fast:
        timesteps = ddim_timesteps(settings.steps, settings.strength)
        predict: PlainPrediction | FastPrediction = FastPrediction(
            denoiser, timesteps, settings.guidance, dtype, device, settings.guidance_interval
        )
    else:
        predict = PlainPrediction(denoiser, settings.guidance, dtype, device, settings.guidance_interval)
    if settings.fast:
        vae = arrange_vae(vae, dtype, device)
    return ArrangedModel(predict, nn.Module.to(vae, device, dtype))  # its own `to` warns of what is not the case


def default_precision(device: torch.device) -> str:
    """What ``auto`` means on a device."""
    return "bf16" if device.type == "cuda" else "fp32"
