"""Guided noise from the optimized denoiser, and where that is the faster one."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from moebius.fast.backend import backend_for
from moebius.fast.denoiser import FastDenoiser
from moebius.fast.graph import captured
from moebius.network.config import MoebiusConfig
from moebius.network.denoiser import Denoiser
from moebius.sampling.sampler import CONDITION_IDS, UNCONDITIONAL_IDS, WHOLE_INTERVAL

MIN_LARGE_CHANNELS = 256  # channels at the first level


def is_faster(config: MoebiusConfig, device: torch.device) -> bool:
    """Return whether the optimized denoiser is faster than the plain one, as far as measured."""
    return device.type == "cpu" or (device.type == "cuda" and config.channels[0] >= MIN_LARGE_CHANNELS)


def best_batch_size(config: MoebiusConfig, device: torch.device) -> int:
    """Return the number of windows per call with the highest throughput.

    On CPUs the maps of several windows of a large model do not fit the caches.
    """
    if device.type == "cuda":
        return 16
    return 4 if device.type == "cpu" and config.channels[0] < MIN_LARGE_CHANNELS else 1


class FastPrediction:
    """Guided noise like that of :class:`PlainPrediction`, with everything that is constant over a run computed once.

    Args:
        denoiser: in evaluation mode, float32; it is not changed.
        timesteps: every timestep that the prediction will be called with.
        guidance: scale of latent categories guidance; at 1 the unconditional half is not computed.
        dtype: the type to compute in; :meth:`FastDenoiser.lower` keeps some layers in float32.
        device: the device to compute on.
        interval: first and last timestep of guidance; outside of them only the condition is computed.
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
        backend = backend_for(device, dtype)
        if backend is not None:
            backend.fuse_denoiser(self.model)
        self._guided, self._alone = captured(self._both, device), captured(partial(self.model, branches=1), device)

    def __call__(self, inputs: Tensor, timestep: int) -> Tensor:
        """(B, 2C + 1, h, w) and one of the timesteps → (B, C, h, w) float32; on GPUs valid until the next call."""
        is_guided = self.guidance != 1 and self.interval[0] <= timestep <= self.interval[1]
        step = self._guided if is_guided else self._alone
        return step(inputs, self.biases[timestep])

    def _both(self, inputs: Tensor, biases: Tensor) -> Tensor:
        condition, unconditional = self.model(inputs, biases, 2).chunk(2)
        return unconditional + self.guidance * (condition - unconditional)
