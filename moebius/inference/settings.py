"""Settings that a user chooses to run the model with. Light to import: nothing here needs PyTorch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moebius.sampling.schedule import TRAIN_STEPS, ddim_timesteps

PRECISIONS = ("fp32", "bf16", "fp16")
SAMPLERS = ("ddim", "dpm++")
LATENT_MASKS = ("any", "nearest")
STARTS = ("auto", "photo", "colours")


@dataclass(frozen=True)
class InpaintSettings:
    """Settings of a run of the model; all but ``batch_size`` decide the result.

    Args:
        steps: steps of the DDIM schedule.
        guidance: scale of latent categories guidance, or ``auto``: that which is recommended for the weights. At 1 a
            step costs half.
        guidance_interval: first and last timestep, in 0 … 999, that are guided; the others cost half.
        sampler: ``ddim``, as published, or ``dpm++``, for fewer steps.
        strength: 1 starts from pure noise, less from ``start`` noised to the first timestep.
        start: ``photo``: from the photo, as published, so that a little of what was in the hole shows at strengths
            below 1; ``colours``: from colours spread over the hole from around it, so that nothing of it does, with a
            third less work for the autoencoder. ``auto``: ``colours`` with ``nano``, which was trained so, else
            ``photo``.
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
        refine: strength of a second pass over holes that do not fit a window at native resolution, below 1; it starts
            from the fill of the first pass. 0: no such pass.
        candidates: fills of each window, each from noise of its own, of which that with the least visible seam is kept;
            the work is that many times as much.

    Raises:
        ValueError: a value out of range.
    """

    steps: int = 20
    guidance: float | str = 2.0
    guidance_interval: Sequence[int] = (0, TRAIN_STEPS - 1)
    sampler: str = "ddim"
    strength: float = 0.99
    start: str = "auto"
    noise_offset: float = 0.0
    latent_mask: str = "any"
    fast: bool = True
    precision: str = "auto"
    batch_size: int | str = "auto"
    context: float = 1.5
    max_upscale: float = 1.0
    refine: float = 0.0
    candidates: int = 1

    def __post_init__(self) -> None:
        ddim_timesteps(self.steps, self.strength)
        self._check_choices()
        self._check_numbers()
        low, high = (*self.guidance_interval, -1, -1)[:2]
        if len(self.guidance_interval) != 2 or not 0 <= low <= high < TRAIN_STEPS:
            raise ValueError(
                f"guidance_interval must be two timesteps in 0 … {TRAIN_STEPS - 1}, the lower first, "
                f"got {list(self.guidance_interval)}"
            )
        if self.batch_size != "auto" and (not isinstance(self.batch_size, int) or self.batch_size < 1):
            raise ValueError(f"batch_size must be auto or a positive number, got {self.batch_size}")
        if self.refine and not (0 < self.refine < 1 and int(self.steps * self.refine)):
            raise ValueError(
                f"refine must be 0, or below 1 with steps·refine at least 1, got {self.refine} with steps={self.steps}"
            )

    @classmethod
    def among(cls, values: Mapping[str, Any]) -> "InpaintSettings":
        """Create settings from those values that have the name of one; ``guidance_interval`` may be a list.

        Raises:
            ValueError: a value out of range.
        """
        chosen = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        if "guidance_interval" in chosen:
            chosen["guidance_interval"] = tuple(chosen["guidance_interval"])
        return cls(**chosen)

    def evaluations(self, strength: float) -> int:
        """Return how many evaluations of the model a window takes; a guided step takes two.

        Raises:
            ValueError: guidance is ``auto``.
        """
        if isinstance(self.guidance, str):
            raise ValueError("guidance=auto depends on the weights; an Inpainter's own settings have a number")
        low, high = self.guidance_interval
        timesteps = ddim_timesteps(self.steps, strength)
        return len(timesteps) + (self.guidance != 1) * sum(low <= timestep <= high for timestep in timesteps)

    def photo_evaluations(self, windows: int, refined: int) -> int:
        """Return how many evaluations the windows of a photo take: those of the first pass, and of the second."""
        return windows * self.evaluations(self.strength) + (refined and refined * self.evaluations(self.refine))

    def _check_choices(self) -> None:
        choices = {
            "sampler": SAMPLERS,
            "start": STARTS,
            "latent_mask": LATENT_MASKS,
            "precision": ("auto", *PRECISIONS),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)}")

    def _check_numbers(self) -> None:
        is_auto = self.guidance == "auto"
        if not is_auto and (isinstance(self.guidance, str) or not 0 <= self.guidance < math.inf):
            raise ValueError(f"guidance must be auto or a number from 0, got {self.guidance}")
        if not 0 <= self.noise_offset < math.inf:
            raise ValueError(f"noise_offset must be a number from 0, got {self.noise_offset}")
        if self.candidates < 1:
            raise ValueError(f"candidates must be at least 1, got {self.candidates}")
        for name in ("context", "max_upscale"):
            if not 1 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
