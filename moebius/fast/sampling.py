"""Guided noise from the denoiser arranged for speed, and where it is the sooner one."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from moebius.config import MoebiusConfig
from moebius.denoiser import Denoiser
from moebius.fast.denoiser import FastDenoiser
from moebius.fast.graph import captured
from moebius.sampler import CONDITION_IDS, UNCONDITIONAL_IDS, WHOLE_INTERVAL

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
        interval: first and last timestep of guidance; outside of them the condition is computed alone.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        timesteps: Sequence[int],
        guidance: float,
        dtype: torch.dtype,
        device: torch.device,
        interval: Sequence[int] = WHOLE_INTERVAL,
    ) -> None:
        self.guidance, self.interval = guidance, interval
        model = FastDenoiser(denoiser, (CONDITION_IDS, UNCONDITIONAL_IDS))
        with torch.inference_mode():
            biases = model.time_biases(timesteps).to(device)
        self.biases = dict(zip(timesteps, biases, strict=True))
        self.model = model.lower(dtype).to(device).eval()
        self._guided, self._alone = captured(self._both, device), captured(partial(self.model, branches=1), device)

    def __call__(self, inputs: Tensor, timestep: int) -> Tensor:
        """(B, 9, h, w) and one of the timesteps → (B, 4, h, w) float32; on GPUs valid until the next call."""
        is_guided = self.guidance != 1 and self.interval[0] <= timestep <= self.interval[1]
        return (self._guided if is_guided else self._alone)(inputs, self.biases[timestep])

    def _both(self, inputs: Tensor, biases: Tensor) -> Tensor:
        condition, unconditional = self.model(inputs, biases, 2).chunk(2)
        return unconditional + self.guidance * (condition - unconditional)
