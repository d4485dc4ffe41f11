"""Takes photos and masks as arrays, images of Pillow or paths, and gives results back in the same kind."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import TypeAlias

import numpy as np
from PIL import Image

Picture: TypeAlias = "np.ndarray | Image.Image | str | PathLike[str]"
WHITE = 128  # and above: a pixel of a mask of grey levels that is to be filled
_WITH_ALPHA = ("RGBA", "LA")


@dataclass(frozen=True)
class Opened:
    """A photo as the model needs it, and what its result must be.

    Args:
        rgb: (H, W, 3) uint8.
        own: its pixels as they were: (H, W), (H, W, 2), (H, W, 3) or (H, W, 4) uint8.
        is_image: the result is an image of Pillow, not an array.
    """

    rgb: np.ndarray
    own: np.ndarray
    is_image: bool

    def restored(self, result: np.ndarray, mask: np.ndarray) -> np.ndarray | Image.Image:
        """Return a result, (H, W, 3) uint8, as the kind of the photo: grey gets its luminance, alpha stays."""
        if self.own.ndim == 3 and self.own.shape[2] == 3:
            pixels = result
        else:
            colours = result if self.own.ndim == 3 and self.own.shape[2] == 4 else _grey(result)
            pixels = self.own.copy()
            bands = pixels if pixels.ndim == 2 else pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3]
            bands[mask] = colours[mask]
        return Image.fromarray(pixels) if self.is_image else pixels


def open_photo(photo: Picture) -> Opened:
    """Open a photo: grey or colour of 8 bits, with alpha or without; a palette becomes colours.

    Raises:
        ValueError: pixels of another kind.
        OSError: the file cannot be read.
    """
    is_image = not isinstance(photo, np.ndarray)
    own = photo if isinstance(photo, np.ndarray) else _pixels(_opened(photo))
    bands = own.shape[2] if own.ndim == 3 else 1 if own.ndim == 2 else 0
    if own.dtype != np.uint8 or bands not in (1, 2, 3, 4) or (own.ndim == 3 and bands == 1):
        raise ValueError(
            f"a photo must be uint8 of shape (H, W), (H, W, 2), (H, W, 3) or (H, W, 4), got {own.dtype} {own.shape}"
        )
    if bands == 3:
        return Opened(own, own, is_image)
    grey = own if own.ndim == 2 else own[..., 0]
    rgb = np.ascontiguousarray(own[..., :3]) if bands == 4 else np.repeat(grey[..., None], 3, axis=2)
    return Opened(rgb, own, is_image)


def open_mask(mask: Picture) -> np.ndarray:
    """Return a mask as (H, W) bool; arrays must be that already, images are filled where they are white.

    Raises:
        OSError: the file cannot be read.
    """
    return mask if isinstance(mask, np.ndarray) else np.asarray(_opened(mask).convert("L")) >= WHITE


def _opened(picture: Image.Image | str | PathLike[str]) -> Image.Image:
    if isinstance(picture, Image.Image):
        return picture
    with Image.open(picture) as image:
        image.load()
        return image


def _pixels(image: Image.Image) -> np.ndarray:
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode == "1":
        image = image.convert("L")
    if image.mode not in ("L", "RGB", *_WITH_ALPHA):
        raise ValueError(f"an image of mode {image.mode} is neither grey nor RGB of 8 bits; convert it first")
    return np.asarray(image)


def _grey(rgb: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(rgb).convert("L"))
