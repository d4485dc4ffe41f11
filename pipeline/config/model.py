"""The sections ``model`` and ``window`` of a configuration."""

import contextlib
from dataclasses import dataclass, field

from moebius.weights.hub import HUB_WEIGHTS
from pipeline.config.values import absolute_uri


@dataclass(frozen=True)
class ModelConfig:
    """Which model, and how it samples.

    Args:
        weights: ``nano``, ``places2``, ``celebahq``, ``ffhq``, ``pretrained``, or a folder or file, local or remote,
            ``hf://`` too; ``untrained`` is a stand-in that shows the pipeline, not the model.
        steps: number of sampling steps.
        guidance: scale of latent categories guidance; 1 halves the work. ``auto`` takes what is recommended for the
            weights: 1 for ``nano``, 2.5 for ``places2``, and for others ``guidance`` in their ``config.json``, else 2.
        guidance_interval: first and last timestep, in 0 … 999, that are guided; the others cost half.
        sampler: ``ddim``, as published, or ``dpm++``, for fewer steps.
        strength: 1 starts from pure noise; less starts from ``start`` noised to the first step.
        start: ``photo``, as published: a little of what was in the hole shows at strengths below 1. ``colours``: spread
            over the hole from around it, so that nothing of it does, with a third less work for the autoencoder.
            ``auto``: ``colours`` for ``nano``, which was trained so, else ``photo``.
        noise_offset: standard deviation of one more random number per window and channel in the start noise; published
            sampling has 0.0357.
        latent_mask: ``any``: a position of the latents is filled if any of its 8×8 pixels is; ``nearest``: only its
            first pixel decides, as published, which loses thin strokes.
        candidates: fills of each window, each from noise of its own, of which that with the least visible seam is kept;
            4 fills take four times the work of 1.
        seed: decides all randomness, together with the sample's id.
        fast: use the optimized denoiser where it is faster; false uses the plain one, equal within rounding.
        precision: ``fp32``, ``bf16``, ``fp16`` (GPUs only), or ``auto``: bf16 on GPUs, fp32 on CPUs.
        batch_size: windows in one call of the model; ``auto``: 16 on GPUs; on CPUs 4 for a small model, 1 for a large
            one.
    """

    weights: str = "nano"
    steps: int = 20
    guidance: int | float | str = 2.0
    guidance_interval: list[int] = field(default_factory=lambda: [0, 999])
    sampler: str = "ddim"
    strength: float = 0.99
    start: str = "auto"
    noise_offset: float = 0.0
    latent_mask: str = "any"
    candidates: int = 1
    seed: int = 0
    fast: bool = True
    precision: str = "auto"
    batch_size: int | str = "auto"

    def __post_init__(self) -> None:
        with contextlib.suppress(ValueError):  # of auto; other words are refused with the settings of the model
            object.__setattr__(self, "guidance", float(self.guidance))
        if self.weights not in ("nano", "untrained", *HUB_WEIGHTS):
            object.__setattr__(self, "weights", absolute_uri(self.weights, "model.weights"))


@dataclass(frozen=True)
class WindowConfig:
    """How windows are cut around holes.

    Args:
        context: side of a window ÷ longest side of its hole.
        max_upscale: largest factor by which small surroundings are magnified.
        refine: strength of a second pass over holes too large for a window at native resolution, which are filled at
            reduced scale first: overlapping windows at native resolution start from that fill. Below 1, such as 0.5;
            0: no second pass.
    """

    context: float = 1.5
    max_upscale: float = 1.0
    refine: float = 0.0
