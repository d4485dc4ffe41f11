"""DDIM over the denoiser arranged for speed."""

import torch
from torch import Tensor

from moebius.config import MoebiusConfig
from moebius.denoiser import Denoiser
from moebius.fast.denoiser import FastDenoiser
from moebius.sampler import CONDITION_IDS, UNCONDITIONAL_IDS, ddim_loop
from moebius.schedule import ddim_timesteps

LEAST_CHANNELS = (
    256  # sooner by 1.7 at 320 channels, later by as much at 32: many small products cost more than they save
)


def is_sooner(config: MoebiusConfig, device: torch.device) -> bool:
    """Whether the denoiser arranged for speed is sooner than the plain one; on GPUs nobody has measured it yet."""
    return device.type == "cpu" and config.channels[0] >= LEAST_CHANNELS


class FastSampler:
    """Samples as :func:`moebius.sampler.ddim_sample` does, with what is constant over a run computed once.

    Args:
        denoiser: in evaluation mode, float32; it is left as it is.
        steps, guidance, strength: as there; at guidance 1 the unconditional half is not computed.
        dtype: of the computation.
        device: where.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        *,
        steps: int,
        guidance: float,
        strength: float,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.steps, self.guidance, self.strength = steps, guidance, strength
        model = FastDenoiser(denoiser, (CONDITION_IDS, UNCONDITIONAL_IDS))
        timesteps = ddim_timesteps(steps, strength)
        with torch.inference_mode():
            biases = model.time_biases(timesteps).to(device, dtype)
        self.biases = dict(zip(timesteps, biases, strict=True))
        self.model = model.to(device, dtype).eval()

    def __call__(self, latents: Tensor, mask: Tensor, masked_latents: Tensor, noise: Tensor) -> Tensor:
        """Clean latents, (B, 4, h, w) float32; arguments as of :func:`moebius.sampler.ddim_sample`."""
        return ddim_loop(
            self._predict, latents, mask, masked_latents, steps=self.steps, strength=self.strength, noise=noise
        )

    def _predict(self, inputs: Tensor, timestep: int) -> Tensor:
        if self.guidance == 1:
            return self.model(inputs, self.biases[timestep], 1).float()
        condition, unconditional = self.model(inputs, self.biases[timestep], 2).float().chunk(2)
        return unconditional + self.guidance * (condition - unconditional)
