"""Settings that a user chooses to run the model with. Light to import: nothing here needs PyTorch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from moebius.sampling.schedule import TRAIN_STEPS, ddim_timesteps

PRECISIONS = ("fp32", "bf16", "fp16")
SAMPLERS = ("ddim", "dpm++")
LATENT_MASKS = ("any", "nearest")


@dataclass(frozen=True)
class InpaintSettings:
    """Settings of a run of the model; all but ``batch_size`` decide the result.

    Args:
        steps: steps of the DDIM schedule.
        guidance: scale of latent categories guidance.
        guidance_interval: first and last timestep, in 0 … 999, that are guided; the others cost half.
        sampler: ``ddim``, as published, or ``dpm++``, for fewer steps.
        strength: 1 starts from pure noise, less from the photo noised to the first timestep, or, with ``nano``,
            from the colours around the hole; nothing of what was in the hole shows then.
        noise_offset: deviation of one more random number per window and channel, added to the start noise. Published
            sampling has 0.0357; 0 adds none.
        latent_mask: how the mask comes to the size of the latents. ``any``: a position is repainted if any of its
            pixels is; ``nearest``: as published, only by its first pixel, which loses thin strokes.
        fast: use the optimized denoiser where it is faster (on GPUs for large models); equal to rounding.
        precision: ``fp32``, ``bf16``, ``fp16`` (on GPUs only; the autoencoder then computes in bf16), or ``auto``: bf16
            on GPUs, fp32 on CPUs.
        batch_size: windows in one call, or ``auto``: 16 on GPUs; on CPUs 4 of a small model, 1 of a large one.
        context: side of a window over the longest side of its hole.
        max_upscale: how far small surroundings may be magnified for the model.

    Raises:
        ValueError: a value out of range.
    """

    steps: int = 20
    guidance: float = 2.0
    guidance_interval: Sequence[int] = (0, TRAIN_STEPS - 1)
    sampler: str = "ddim"
    strength: float = 0.99
    noise_offset: float = 0.0
    latent_mask: str = "any"
    fast: bool = True
    precision: str = "auto"
    batch_size: int | str = "auto"
    context: float = 1.5
    max_upscale: float = 1.0

    def __post_init__(self) -> None:
        ddim_timesteps(self.steps, self.strength)
        if not 0 <= self.guidance < math.inf:
            raise ValueError(f"guidance must be a number from 0, got {self.guidance}")
        low, high = (*self.guidance_interval, -1, -1)[:2]
        if len(self.guidance_interval) != 2 or not 0 <= low <= high < TRAIN_STEPS:
            raise ValueError(
                f"guidance_interval must be two timesteps in 0 … {TRAIN_STEPS - 1}, the lower first, "
                f"got {list(self.guidance_interval)}"
            )
        if self.sampler not in SAMPLERS:
            raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}, got {self.sampler}")
        if not 0 <= self.noise_offset < math.inf:
            raise ValueError(f"noise_offset must be a number from 0, got {self.noise_offset}")
        if self.latent_mask not in LATENT_MASKS:
            raise ValueError(f"latent_mask must be one of {', '.join(LATENT_MASKS)}, got {self.latent_mask}")
        if self.precision not in ("auto", *PRECISIONS):
            raise ValueError(f"precision must be one of auto, {', '.join(PRECISIONS)}, got {self.precision}")
        if self.batch_size != "auto" and (not isinstance(self.batch_size, int) or self.batch_size < 1):
            raise ValueError(f"batch_size must be auto or a positive number, got {self.batch_size}")
        if not 1 <= self.context < math.inf:
            raise ValueError(f"context must be at least 1, got {self.context}")
        if not 1 <= self.max_upscale < math.inf:
            raise ValueError(f"max_upscale must be at least 1, got {self.max_upscale}")
