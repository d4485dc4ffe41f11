"""Steps of samplers: from the noise predicted at one noise level to the latents at the next."""

import math
from collections.abc import Callable

from torch import Tensor


class DdimStep:
    """DDIM with eta 0, as published."""

    def __call__(self, current: Tensor, eps: Tensor, alpha: Tensor, alpha_next: Tensor) -> Tensor:
        """Latents (B, C, h, w) and noise at ᾱ → latents at the next ᾱ; both on the CPU, () float32, the last one 1."""
        return alpha_next.sqrt() * clean_latents(current, eps, alpha) + (1 - alpha_next).sqrt() * eps


class DpmStep:
    """DPM-Solver++ (2M): extrapolates the clean latents of two steps; DDIM uses only the last.

    Source: arXiv 2211.01095, algorithm 2. The first and the last step are DDIM's. One object samples once.
    """

    def __init__(self) -> None:
        self._earlier: tuple[Tensor, float] | None = None  # clean latents, and the step that led from there

    def __call__(self, current: Tensor, eps: Tensor, alpha: Tensor, alpha_next: Tensor) -> Tensor:
        """Step like :meth:`DdimStep.__call__`, with its arguments."""
        clean = clean_latents(current, eps, alpha)
        if alpha_next == 1:
            return clean
        step = _log_ratio(alpha_next) - _log_ratio(alpha)
        ahead = clean
        if self._earlier is not None:
            earlier, step_before = self._earlier
            ahead = clean + step / (2 * step_before) * (clean - earlier)
        self._earlier = (clean, step)
        shrink = ((1 - alpha_next) / (1 - alpha)).sqrt()
        return shrink * current - alpha_next.sqrt() * math.expm1(-step) * ahead


SOLVERS: dict[str, Callable[[], DdimStep | DpmStep]] = {"ddim": DdimStep, "dpm++": DpmStep}


def clean_latents(current: Tensor, eps: Tensor, alpha: Tensor) -> Tensor:
    """Remove the predicted noise from latents: (x − √(1−ᾱ)·ε) / √ᾱ; ᾱ is a scalar, or (B, 1, 1, 1)."""
    return (current - (1 - alpha).sqrt() * eps) / alpha.sqrt()


def _log_ratio(alpha: Tensor) -> float:
    """Return the logarithm of the ratio of signal to noise amplitude."""
    return 0.5 * math.log(float(alpha) / (1 - float(alpha)))
