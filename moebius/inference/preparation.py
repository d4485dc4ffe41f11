"""A model made ready on a device, plain or optimized."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import torch

from moebius.fast.autoencoder import optimize_autoencoder
from moebius.fast.graph import captured
from moebius.fast.sampling import FastPrediction
from moebius.inference.settings import InpaintSettings
from moebius.network.denoiser import Denoiser
from moebius.sampling.sampler import PlainPrediction
from moebius.sampling.schedule import ddim_timesteps

if TYPE_CHECKING:
    from moebius.autoencoder.vae import Autoencoder

# Types of the denoiser. The published autoencoder overflows in float16 and computes in bfloat16 instead.
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
VAE_DTYPES = {torch.float16: torch.bfloat16}

Prediction: TypeAlias = PlainPrediction | FastPrediction


@dataclass(frozen=True)
class PreparedModel:
    """A model ready to sample.

    Args:
        predict: inputs (B, 2C + 1, h, w) and a timestep → guided noise (B, C, h, w) float32.
        vae: the autoencoder.
    """

    predict: Prediction
    vae: Autoencoder


def prepare(
    denoiser: Denoiser,
    vae: Autoencoder,
    settings: InpaintSettings,
    dtype: torch.dtype,
    device: torch.device,
    is_fast: bool,
) -> PreparedModel:
    """Make a model ready to sample; the given modules may be changed.

    Args:
        denoiser, vae: in evaluation mode, float32.
        settings: their steps and guidance are used, and ``fast`` decides on the autoencoder.
        dtype: the type to compute in.
        device: the device to compute on.
        is_fast: whether the denoiser is optimized; small ones are faster as they are.
    """
    predict, vae_dtype = prediction(denoiser, settings, dtype, device, is_fast), VAE_DTYPES.get(dtype, dtype)
    if settings.fast:
        vae = optimize_autoencoder(vae, vae_dtype, device, is_untimed=dtype == torch.float16)
    return PreparedModel(predict, vae.to(device, vae_dtype))


def prediction(
    denoiser: Denoiser, settings: InpaintSettings, dtype: torch.dtype, device: torch.device, is_fast: bool
) -> Prediction:
    """Return the guided noise of a denoiser as a function; see :func:`prepare` for the arguments."""
    guidance, interval = float(settings.guidance), settings.guidance_interval
    if is_fast:
        timesteps = ddim_timesteps(settings.steps, strength=1)  # those of every other strength are among them
        return FastPrediction(denoiser, timesteps, guidance, dtype, device, interval)
    if not settings.fast or dtype != torch.float16:
        return PlainPrediction(denoiser, guidance, dtype, device, interval)
    return PlainPrediction(denoiser, guidance, dtype, device, interval, wrap=partial(captured, device=device))


def default_precision(device: torch.device) -> str:
    """Return what ``auto`` means on a device."""
    return "bf16" if device.type == "cuda" else "fp32"


def precisions(device: torch.device) -> list[str]:
    """Return the precisions in which a device computes: no CPU multiplies float16 as fast as the others."""
    return [name for name, dtype in DTYPES.items() if dtype != torch.float16 or device.type != "cpu"]
