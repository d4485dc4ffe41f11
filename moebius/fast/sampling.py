"""Guided noise from the denoiser arranged for speed, and where it is the sooner one."""

from collections.abc import Sequence

import torch
from torch import Tensor

from moebius.config import MoebiusConfig
from moebius.denoiser import Denoiser
from moebius.fast.denoiser import FastDenoiser
from moebius.fast.graph import captured
from moebius.sampler import CONDITION_IDS, UNCONDITIONAL_IDS

LEAST_CHANNELS = (
    256  # sooner by 1.7 at 320 channels, later by as much at 32: many small products cost more than they save
)


def is_sooner(config: MoebiusConfig, device: torch.device) -> bool:
    """Whether the denoiser arranged for speed is sooner than the plain one; on GPUs it has not been measured."""
    return device.type == "cpu" and config.channels[0] >= LEAST_CHANNELS


class FastPrediction:
    """The guided noise of :class:`moebius.sampler.PlainPrediction`, with what is constant over a run computed once.

    Args:
        denoiser: in evaluation mode, float32; it is left as it is.
        timesteps: all that will be asked for.
        guidance: scale of latent categories guidance; at 1 the unconditional half is not computed.
        dtype: of the computation, but for what :meth:`FastDenoiser.lower` keeps in float32.
        device: where.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        timesteps: Sequence[int],
        guidance: float,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.guidance = guidance
        model = FastDenoiser(denoiser, (CONDITION_IDS, UNCONDITIONAL_IDS))
        with torch.inference_mode():
            biases = model.time_biases(timesteps).to(device)
        self.biases = dict(zip(timesteps, biases, strict=True))
        self.model = model.lower(dtype).to(device).eval()
        self._step = captured(self._guided, device)

    def __call__(self, inputs: Tensor, timestep: int) -> Tensor:
        """(B, 9, h, w) and one of the timesteps → (B, 4, h, w) float32; on GPUs valid until the next call."""
        return self._step(inputs, self.biases[timestep])

    def _guided(self, inputs: Tensor, biases: Tensor) -> Tensor:
        if self.guidance == 1:
            return self.model(inputs, biases, 1)
        condition, unconditional = self.model(inputs, biases, 2).chunk(2)
        return unconditional + self.guidance * (condition - unconditional)
