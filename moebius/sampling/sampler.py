"""Sampling with latent categories guidance, as published: the loop and the guided noise of its steps."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from moebius.network.denoiser import Denoiser
from moebius.sampling.schedule import TRAIN_STEPS, alphas_cumprod, ddim_timesteps
from moebius.sampling.solvers import SOLVERS

CONDITION_IDS = range(0, 10)
UNCONDITIONAL_IDS = range(10, 20)
WHOLE_INTERVAL = (0, TRAIN_STEPS - 1)  # of guidance: always

# (latents (B, 2C + 1, h, w), timesteps (1,), category_ids (B, 10)) -> noise (B, C, h, w)
NoisePredictor = Callable[[Tensor, Tensor, Tensor], Tensor]
# (inputs (B, 2C + 1, h, w), timestep (1,)) -> guided noise (B, C, h, w)
GuidedStep = Callable[[Tensor, Tensor], Tensor]


@torch.no_grad()
def ddim_sample(
    model: NoisePredictor,
    latents: Tensor,
    mask: Tensor,
    masked_latents: Tensor,
    *,
    steps: int,
    guidance: float,
    strength: float,
    noise: Tensor,
) -> Tensor:
    """Denoise latents under a mask: DDIM with eta 0, the condition being categories 0–9, the unconditional 10–19.

    Args:
        model: the denoiser, or any callable of its signature.
        latents: (B, C, h, w), scaled latents of the original image; at strength 1 only their shape matters.
        mask: (B, 1, h, w), 1 = repaint.
        masked_latents: (B, C, h, w), scaled latents of the image with its hole blanked.
        steps: steps of the whole schedule; ``int(steps·strength)`` of them run.
        guidance: scale s of unconditional + s·(condition − unconditional).
        strength: 1 starts from pure noise, less from the original noised to the first timestep.
        noise: (B, C, h, w), standard normal.

    Returns:
        (B, C, h, w), the clean latents.

    Raises:
        ValueError: a bad schedule, see :func:`moebius.sampling.schedule.ddim_timesteps`.
    """
    predict = partial(guided_noise, model, guidance)
    return sampling_loop(predict, latents, mask, masked_latents, steps=steps, strength=strength, noise=noise)


def guided_noise(model: NoisePredictor, guidance: float, inputs: Tensor, timestep: int | Tensor) -> Tensor:
    """Guide the noise, both branches in one call: (B, 2C + 1, h, w), a timestep as number or (1,) → (B, C, h, w)."""
    category_ids = torch.cat([_rows(ids, inputs) for ids in (CONDITION_IDS, UNCONDITIONAL_IDS)])
    time = timestep if isinstance(timestep, Tensor) else torch.full((1,), timestep, device=inputs.device)
    condition, unconditional = model(torch.cat([inputs, inputs]), time, category_ids).chunk(2)
    return unconditional + guidance * (condition - unconditional)


class PlainPrediction:
    """Guided noise of the plain denoiser; input and output are float32.

    Args:
        denoiser: in evaluation mode; it is moved.
        guidance: scale of latent categories guidance; at 1 the unconditional half is not computed.
        dtype: the type to compute in.
        device: the device to compute on.
        interval: first and last timestep of guidance; outside of them only the condition is computed.
        wrap: replaces a function of inputs and a timestep (1,) by an equal one, such as a captured CUDA graph.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        guidance: float,
        dtype: torch.dtype,
        device: torch.device,
        interval: Sequence[int] = WHOLE_INTERVAL,
        wrap: Callable[[GuidedStep], GuidedStep] = lambda step: step,
    ) -> None:
        self.model, self.dtype = denoiser.to(device, dtype), dtype
        self.guidance, self.interval = guidance, interval
        self._guided, self._alone = wrap(partial(guided_noise, self._in_float, guidance)), wrap(self._condition)

    def __call__(self, inputs: Tensor, timestep: int) -> Tensor:
        """(B, 2C + 1, h, w) and one timestep → (B, C, h, w)."""
        is_guided = self.guidance != 1 and self.interval[0] <= timestep <= self.interval[1]
        time = torch.full((1,), timestep, device=inputs.device)
        return self._guided(inputs, time) if is_guided else self._alone(inputs, time)

    def _condition(self, inputs: Tensor, time: Tensor) -> Tensor:
        return self._in_float(inputs, time, _rows(CONDITION_IDS, inputs))

    def _in_float(self, latents: Tensor, timesteps: Tensor, category_ids: Tensor) -> Tensor:
        return self.model(latents.to(self.dtype), timesteps, category_ids).float()


@torch.no_grad()
def sampling_loop(
    predict: Callable[[Tensor, int], Tensor],
    latents: Tensor,
    mask: Tensor,
    masked_latents: Tensor,
    *,
    steps: int,
    strength: float,
    noise: Tensor,
    solver: str = "ddim",
) -> Tensor:
    """Run the loop of :func:`ddim_sample` over any guided prediction.

    Args:
        predict: inputs (B, 2C + 1, h, w) and a timestep → noise (B, C, h, w).
        latents, mask, masked_latents, steps, strength, noise: see :func:`ddim_sample`.
        solver: a key of ``SOLVERS``.
    """
    timesteps = ddim_timesteps(steps, strength)
    alphas = alphas_cumprod()  # on the CPU, where each is a mere number to a GPU
    conditions = torch.cat([mask, masked_latents], dim=1)
    alpha, step = alphas[timesteps[0]], SOLVERS[solver]()
    current = noise if strength == 1 else alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
    for timestep in timesteps:
        eps = predict(torch.cat([current, conditions], dim=1), timestep)
        previous = timestep - TRAIN_STEPS // steps
        current = step(current, eps, alphas[timestep], alphas[previous] if previous >= 0 else torch.ones(()))
    return current


def _rows(ids: range, inputs: Tensor) -> Tensor:
    """Return a row of category ids per sample, made on its device so that nothing waits for a GPU."""
    return torch.arange(ids.start, ids.stop, device=inputs.device).expand(inputs.shape[0], -1)
