"""Noise schedule of the published model: scaled-linear betas, "leading" timesteps."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

TRAIN_STEPS = 1000
BETA_START, BETA_END = 0.00085, 0.012


def alphas_cumprod() -> Tensor:
    """Return the products ᾱ_t of the training schedule: (1000,) float32."""
    import torch  # not at the top: checking a configuration needs no PyTorch

    betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, TRAIN_STEPS, dtype=torch.float32) ** 2
    return torch.cumprod(1.0 - betas, dim=0)


def ddim_timesteps(steps: int, strength: float) -> list[int]:
    """Return the timesteps that DDIM visits, in order: 20 steps at strength 0.99 are 900, 850 … 0.

    Raises:
        ValueError: ``steps`` outside 1 … 1000, ``strength`` outside (0, 1], or no step left to run.
    """
    if not 1 <= steps <= TRAIN_STEPS:
        raise ValueError(f"steps must be in 1 … {TRAIN_STEPS}, got {steps}")
    if not 0 < strength <= 1:
        raise ValueError(f"strength must be in (0, 1], got {strength}")
    count = min(int(steps * strength), steps)
    if count == 0:
        raise ValueError(f"steps·strength must be at least 1, got {steps}·{strength}")
    stride = TRAIN_STEPS // steps
    return [index * stride for index in range(count - 1, -1, -1)]
