"""A decoded image in the layout it came in, and the colours that the model sees of it."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from moebius.windows import Box
from pipeline.codecs.metadata_formats import exif
from pipeline.codecs.tiff.bands import ASSOCIATED_ALPHA


@dataclass(frozen=True)
class Photo:
    """A decoded image.

    Args:
        pixels: (H, W) or (H, W, bands) as decoded, uint8 or uint16.
        mode: Pillow's name of the pixels' layout, or ``LA;16``, ``RGB;16``, ``RGBA;16``, for which it has none; with
            ``X`` for ``A`` where a TIFF does not explain the last band, which stays as it is.
        format: Pillow's name of the container it came in.
        encoder: what the encoder needs to keep: profiles, tables, settings.
    """

    pixels: np.ndarray
    mode: str
    format: str
    encoder: dict[str, Any] = field(default_factory=dict)

    def rgb(self) -> np.ndarray:
        """Return the model's input: (H, W, 3) uint8, without alpha."""
        if self.mode == "CMYK":
            return np.asarray(Image.fromarray(self.pixels, self.mode).convert("RGB"))
        seen = (self.pixels >> 8).astype(np.uint8) if self.pixels.dtype == np.uint16 else self.pixels
        if self.mode.startswith("RGB"):
            return seen[..., :3]
        grey = seen[..., 0] if seen.ndim == 3 else seen
        return np.repeat(grey[..., None], 3, axis=2)

    @property
    def alpha(self) -> np.ndarray | None:
        """(H, W) of opacity, where there is one."""
        return self.pixels[..., -1] if self.mode.startswith(("RGBA", "LA")) else None

    @property
    def is_premultiplied(self) -> bool:
        """Whether colours are stored multiplied by alpha, as a TIFF may have them."""
        return self.alpha is not None and self.encoder.get("extra_samples") == ASSOCIATED_ALPHA

    @cached_property
    def orientation(self) -> int:
        """EXIF orientation of the image, 1 … 8; 1 (no rotation) by default."""
        return exif.orientation(self.encoder.get("exif", b""))

    def opaque(self, mask: np.ndarray) -> "Photo":
        """The same photo with nothing transparent under a mask, (H, W) bool."""
        pixels = self.pixels.copy()
        pixels[mask, -1] = np.iinfo(pixels.dtype).max
        return replace(self, pixels=pixels)

    def repaint(self, patch: np.ndarray, mask: np.ndarray, box: Box) -> np.ndarray:
        """Copy the masked pixels of a patch into the photo; alpha is preserved.

        Args:
            patch: (h, w, 3) uint8, of the size of the box, equal to :meth:`rgb` outside the mask.
            mask: (h, w) bool, of the size of the box.
            box: contains every masked pixel.

        Returns:
            ``pixels`` itself, changed, where it can be written to, else a copy.
        """
        result = self.pixels if self.pixels.flags.writeable else self.pixels.copy()
        region = result[box.slices]
        scale = 257 if result.dtype == np.uint16 else 1  # 255 is full in 8 bits, 65535 in 16
        if self.mode == "RGB":
            region[:] = patch
        elif self.mode.startswith("RGB"):
            where = mask[..., None].repeat(3, axis=2)
            np.copyto(region[..., :3], patch.astype(result.dtype) * result.dtype.type(scale), where=where)
        else:
            colours = Image.fromarray(patch[mask][None])  # the masked pixels as one row
            if self.mode == "CMYK":
                region[mask] = np.asarray(colours.convert("CMYK"))[0]
            else:
                grey = np.asarray(colours.convert("L"))[0].astype(result.dtype) * result.dtype.type(scale)
                region[mask, 0 if result.ndim == 3 else ...] = grey
        if self.is_premultiplied:  # no colour is above its alpha
            np.minimum(region[..., :-1], region[..., -1:], out=region[..., :-1], where=mask[..., None])
        return result
