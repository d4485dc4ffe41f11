"""A decoded image in the layout it came in, and the colours that the model sees of it."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

from moebius.windows import Box


@dataclass(frozen=True)
class Photo:
    """A decoded image.

    Args:
        pixels: (H, W) or (H, W, bands) as decoded, uint8 or uint16.
        mode: Pillow's name of the pixels' layout.
        format: Pillow's name of the container it came in.
        encoder: what the encoder needs to keep: profiles, tables, settings.
    """

    pixels: np.ndarray
    mode: str
    format: str
    encoder: dict[str, Any] = field(default_factory=dict)

    def rgb(self) -> np.ndarray:
        """What the model sees: (H, W, 3) uint8, without alpha."""
        if self.mode == "I;16":
            return np.repeat((self.pixels >> 8).astype(np.uint8)[..., None], 3, axis=2)
        if self.mode in ("RGB", "RGBA"):
            return self.pixels[..., :3]
        if self.mode in ("L", "LA"):
            grey = self.pixels if self.mode == "L" else self.pixels[..., 0]
            return np.repeat(grey[..., None], 3, axis=2)
        return np.asarray(Image.fromarray(self.pixels, self.mode).convert("RGB"))

    @property
    def alpha(self) -> np.ndarray | None:
        """(H, W) of opacity, where there is one."""
        return self.pixels[..., -1] if self.mode in ("RGBA", "LA") else None

    def opaque(self, mask: np.ndarray) -> "Photo":
        """The same photo with nothing transparent under a mask, (H, W) bool."""
        pixels = self.pixels.copy()
        pixels[mask, -1] = np.iinfo(pixels.dtype).max
        return replace(self, pixels=pixels)

    def repainted(self, rgb: np.ndarray, mask: np.ndarray, hole: Box) -> np.ndarray:
        """``pixels`` with the masked ones taken from ``rgb``; alpha stays.

        Args:
            rgb: (H, W, 3) uint8, equal to :meth:`rgb` outside the mask.
            mask: (H, W) bool.
            hole: what holds every masked pixel.
        """
        if self.mode == "RGB":
            return rgb
        result = self.pixels.copy()
        if self.mode == "RGBA":
            region = hole.slices
            np.copyto(result[region][..., :3], rgb[region], where=mask[region][..., None].repeat(3, axis=2))
            return result
        colours = Image.fromarray(rgb[mask][None])  # the masked pixels as one row
        if self.mode == "CMYK":
            result[mask] = np.asarray(colours.convert("CMYK"))[0]
            return result
        grey = np.asarray(colours.convert("L"))[0]
        if self.mode == "LA":
            result[mask, 0] = grey
        else:
            result[mask] = grey.astype(result.dtype) * (257 if self.mode == "I;16" else 1)
        return result
