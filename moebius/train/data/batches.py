"""Batches to train a denoiser on: latents of photos and of photos with a hole, times, noise, category ids."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from moebius.sampling.sampler import CONDITION_IDS, UNCONDITIONAL_IDS
from moebius.sampling.schedule import TRAIN_STEPS, alphas_cumprod

NOISE_OFFSET = 0.0357


@dataclass(frozen=True)
class NoisyBatch:
    """Batch of noisy latents and what to predict from them.

    Args:
        inputs: (B, 2C + 1, h, w): noisy latents, mask, latents of the masked image.
        timesteps: (B,) int64, in 0 … 999.
        category_ids: (B, 10) int64.
        noise: (B, C, h, w), the noise to predict.
        clean: (B, C, h, w), scaled latents.
        alphas: (B,), ᾱ of each timestep.
    """

    inputs: Tensor
    timesteps: Tensor
    category_ids: Tensor
    noise: Tensor
    clean: Tensor
    alphas: Tensor


def noisy_batch(
    clean: Tensor,
    masked: Tensor,
    masks: Tensor,
    unconditional: float,
    rng: np.random.Generator,
    uniform_times: bool = False,
) -> NoisyBatch:
    """Noise latents with what a generator on the CPU draws, so that every device gets the same.

    Args:
        clean, masked, masks, unconditional, uniform_times: see :func:`noise_latents`.
        rng: what decides everything.
    """
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    return noise_latents(clean, masked, masks, unconditional, generator, uniform_times)


def joined(batches: Sequence[NoisyBatch]) -> NoisyBatch:
    """Join batches into one."""
    return NoisyBatch(*(torch.cat([getattr(batch, field.name) for batch in batches]) for field in fields(NoisyBatch)))


def noise_latents(
    clean: Tensor,
    masked: Tensor,
    masks: Tensor,
    unconditional: float,
    generator: torch.Generator,
    uniform_times: bool = False,
) -> NoisyBatch:
    """Noise latents as the published training does: t = ⌊1000·sigmoid(z)⌋, and an offset of each channel's noise.

    Args:
        clean: (B, C, h, w), scaled latents of the images; the batch is made on their device.
        masked: (B, C, h, w), scaled latents of the images with their holes blanked.
        masks: (B, 1, h, w), 1 = repaint.
        unconditional: share of samples with the category ids 10–19.
        generator: source of all randomness; it may be of another device.
        uniform_times: t = ⌊1000·Φ(z)⌋ instead: all timesteps are equally frequent.
    """
    count, device, drawn_on = clean.shape[0], clean.device, generator.device
    normal = torch.randn(count, generator=generator, device=drawn_on)
    shares = torch.special.ndtr(normal) if uniform_times else normal.sigmoid()
    timesteps = (TRAIN_STEPS * shares).long().clamp(max=TRAIN_STEPS - 1)
    noise = torch.randn(clean.shape, generator=generator, device=drawn_on)
    noise = noise + NOISE_OFFSET * torch.randn(count, clean.shape[1], 1, 1, generator=generator, device=drawn_on)
    is_unconditional = torch.rand(count, 1, generator=generator, device=drawn_on) < unconditional
    unconditional_ids, condition_ids = (
        torch.arange(ids.start, ids.stop, device=drawn_on) for ids in (UNCONDITIONAL_IDS, CONDITION_IDS)
    )
    ids = torch.where(is_unconditional, unconditional_ids, condition_ids)
    timesteps, ids, noise = timesteps.to(device), ids.to(device), noise.to(device)
    alphas = alphas_cumprod().to(device)[timesteps]
    shaped = alphas.view(-1, 1, 1, 1)
    noisy = shaped.sqrt() * clean + (1 - shaped).sqrt() * noise
    return NoisyBatch(torch.cat([noisy, masks, masked], dim=1), timesteps, ids, noise, clean, alphas)
