"""Architecture of a Moebius denoiser; the defaults are the published 226 M parameter model."""

import math
from dataclasses import dataclass

GROUP_NORM_GROUPS = 32


@dataclass(frozen=True)
class MoebiusConfig:
    """Sizes of the denoiser, and the guidance to sample it with.

    Source: arXiv 2606.19195. The table of Interactive-λ holds one row per latent position, so weights belong to one
    ``image_size``.

    Args:
        channels: width of each resolution level, finest first; multiples of 32 and of ``heads``.
        heads: query heads of both λ layers at every level; keys and values have width ``channels[i] / heads``.
        image_size: side of the square window that the model sees, in pixels.
        category_width: width of a learned category vector.
        context_width: width of the context that the category vectors are projected to.
        categories: rows of the category table; the first half is the condition, the second the unconditional branch.
        ffn_ratio: hidden width of the Mix-FFN over its input width.
        local_window: side of the square neighbourhood of Local-λ, in latent positions; odd.
        vae_factor: pixels per latent position along one side.
        latent_channels: channels of the autoencoder's latents; 4 is the Stable-Diffusion kind.
        guidance: scale of latent categories guidance that is recommended for the weights; no size of theirs.

    Raises:
        ValueError: a size does not fit the others.
    """

    channels: tuple[int, ...] = (320, 640, 1280)
    heads: int = 8
    image_size: int = 512
    category_width: int = 3072
    context_width: int = 768
    categories: int = 20
    ffn_ratio: float = 2.5
    local_window: int = 15
    vae_factor: int = 8
    latent_channels: int = 4
    guidance: float = 2.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))  # JSON has lists only
        for name in (
            "heads",
            "image_size",
            "category_width",
            "context_width",
            "categories",
            "local_window",
            "vae_factor",
            "latent_channels",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.channels or min(self.channels) < 1 or self.ffn_ratio <= 0:
            raise ValueError(f"channels and ffn_ratio must be positive, got {self.channels} and {self.ffn_ratio}")
        if not 0 <= self.guidance < math.inf:
            raise ValueError(f"guidance must be a number from 0, got {self.guidance}")
        object.__setattr__(self, "guidance", float(self.guidance))  # 2 and 2.0 are one setting
        for width in self.channels:
            if width % GROUP_NORM_GROUPS or width % self.heads:
                raise ValueError(
                    f"channels must be multiples of {GROUP_NORM_GROUPS} and of heads={self.heads}, got {width}"
                )
        step = self.vae_factor * 2 ** (len(self.channels) - 1)
        if self.image_size % step:
            raise ValueError(f"image_size must be a multiple of {step}, got {self.image_size}")
        if self.local_window % 2 == 0:
            raise ValueError(f"local_window must be odd, got {self.local_window}")
        if self.categories % 2:
            raise ValueError(f"categories must be even (condition and unconditional half), got {self.categories}")

    @property
    def latent_size(self) -> int:
        """Side of the latents, in positions."""
        return self.image_size // self.vae_factor

    @property
    def time_width(self) -> int:
        """Width of the time embedding."""
        return 4 * self.channels[0]
