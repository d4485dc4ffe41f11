"""A mark as it was put over photos: colours and opacity."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.errors import SampleError
from pipeline.masks.values import MaskValues, read_values

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue, as Pillow and JPEG make grey


@dataclass(frozen=True)
class Mark:
    """A semi-transparent picture.

    Args:
        alpha: (h, w) float32, opacity 0 … 1.
        added: (h, w, 3) float32, colours 0 … 1 times opacity: what it adds to a photo.
    """

    alpha: np.ndarray
    added: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.alpha.shape
        return height, width

    def scaled(self, shape: tuple[int, int]) -> "Mark":
        """Return the mark in another size, (height, width), by bicubic interpolation."""
        if shape == self.shape:
            return self
        planes = [self.alpha, *np.moveaxis(self.added, 2, 0)]
        resized = [
            np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize(shape[::-1], Image.Resampling.BICUBIC))
            for plane in planes
        ]
        alpha = np.clip(resized[0], 0, 1)
        return Mark(alpha, np.clip(np.stack(resized[1:], axis=2), 0, alpha[..., None]))

    def part(self, rows: slice, columns: slice) -> "Mark":
        """Return a rectangle of the mark."""
        return Mark(self.alpha[rows, columns], self.added[rows, columns])

    def around(self, rows: slice, columns: slice, border_px: int) -> "Mark":
        """Return a rectangle with a border around it, transparent outside the mark."""
        height, width = self.shape
        top, bottom = max(0, rows.start - border_px), min(height, rows.stop + border_px)
        left, right = max(0, columns.start - border_px), min(width, columns.stop + border_px)
        pad = (
            (top - rows.start + border_px, rows.stop + border_px - bottom),
            (left - columns.start + border_px, columns.stop + border_px - right),
        )
        part = self.part(slice(top, bottom), slice(left, right))
        return Mark(np.pad(part.alpha, pad), np.pad(part.added, (*pad, (0, 0))))


def read_mark(data: bytes, max_pixels: int) -> Mark:
    """Decode the file of a mark, of 8 or 16 bits.

    Args:
        data: the file.
        max_pixels: limit, checked before a pixel is decoded.

    Raises:
        SampleError: unreadable, without an alpha channel, or transparent everywhere.
    """
    values = read_values(data, max_pixels, "colour")
    if values.alpha is None:
        raise SampleError("mask", "NoAlpha", "mask.kind=mark needs a picture with transparency at mask.uri")
    alpha = values.alpha.astype(np.float32) / np.float32(np.iinfo(values.alpha.dtype).max)
    if not alpha.any():
        raise SampleError("mask", "EmptyMark", "the mark at mask.uri is transparent everywhere")
    return Mark(alpha, _added(values, alpha))


def _added(values: MaskValues, alpha: np.ndarray) -> np.ndarray:
    if values.colours is None:  # grey, whose numbers are times opacity already
        return np.repeat((values.numbers.astype(np.float32) / np.float32(values.full_scale))[..., None], 3, axis=2)
    return values.colours.astype(np.float32) / np.float32(values.full_scale) * alpha[..., None]
