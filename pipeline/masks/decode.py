"""Decodes masks to boolean arrays of the pixels to fill."""

from dataclasses import replace

import numpy as np

from pipeline.codecs.photo import Photo
from pipeline.config.mask import MaskConfig
from pipeline.errors import SampleError
from pipeline.masks.base import MaskKind, open_kind
from pipeline.masks.drawn import DrawnMask
from pipeline.masks.labels import refuse_labels
from pipeline.masks.refine import refine
from pipeline.masks.values import at_threshold, read_values
from pipeline.sources.inputs import MaskPart

MaskData = bytes | tuple[MaskPart, ...]


def read_mask(data: MaskData, photo: Photo, config: MaskConfig, max_pixels: int) -> np.ndarray:
    """Return the pixels of a photo that may change: (H, W) bool, see :func:`draw_mask`."""
    return draw_mask(data, photo, config, max_pixels).changed


def draw_mask(data: MaskData, photo: Photo, config: MaskConfig, max_pixels: int) -> DrawnMask:
    """Decode the mask of a photo, and invert, close and dilate it as configured.

    Args:
        data: the mask file, or the text of annotations; empty for masks of the image itself; several masks, which are
            united, or none, as a tuple.
        photo: the decoded image.
        config: kind, threshold, inversion, growth and limits.
        max_pixels: limit, checked before a mask file is decoded.

    Raises:
        SampleError: unreadable, of another size than the image, with values that the threshold does not separate, or
            covering too much or too little of the image.
    """
    drawn = _part(data, photo, config, max_pixels)
    if drawn.restored is not None:
        photo = replace(photo, pixels=drawn.restored)
    for further in config.also:
        drawn = _union(drawn, _part(b"", photo, further, max_pixels))
    return drawn.filling(_checked(drawn.pixels, config))


def _part(data: MaskData, photo: Photo, config: MaskConfig, max_pixels: int) -> DrawnMask:
    """Decode and refine one of the masks of a photo."""
    if data == ():  # nothing to fill, whatever mask.invert says of masks
        return DrawnMask(np.zeros(photo.pixels.shape[:2], bool), 0)
    kind = open_kind(config)
    drawn = kind.draw(data, photo, max_pixels) if isinstance(data, bytes) else _united(kind, data, photo, max_pixels)
    return drawn.filling(refine(drawn.pixels, config))


def _union(one: DrawnMask, other: DrawnMask) -> DrawnMask:
    """Unite two masks, of which only the first may compute pixels; a picture counts as one object."""
    scores = [drawn.score for drawn in (one, other) if drawn.score is not None]
    objects = sum(1 if drawn.objects is None else drawn.objects for drawn in (one, other))
    united = replace(one, objects=objects, score=max(scores, default=None))
    return united.filling(one.pixels | other.pixels)


def read_mask_file(data: bytes, config: MaskConfig, max_pixels: int) -> np.ndarray:
    """Decode a mask file of any size at the threshold: (H, W) bool, neither fitted to an image nor inverted.

    Raises:
        SampleError: unreadable, or with values that the threshold does not separate.
    """
    values = read_values(data, max_pixels, config.channel)
    mask = at_threshold(values, config)
    refuse_labels(values, mask, config)
    return mask


def _united(kind: MaskKind, parts: tuple[MaskPart, ...], photo: Photo, max_pixels: int) -> DrawnMask:
    """Draw several masks of a photo into one; the error of any of them begins with its name."""
    drawn = DrawnMask(np.zeros(photo.pixels.shape[:2], bool), 0)
    for part in parts:
        try:
            drawn = _union(drawn, kind.draw(part.data, photo, max_pixels))
        except SampleError as error:
            raise SampleError(error.stage, error.kind, f"{part.name}: {error.message}") from error
    return drawn


def _checked(mask: np.ndarray, config: MaskConfig) -> np.ndarray:
    fraction = np.count_nonzero(mask) / mask.size
    if fraction > config.max_fraction:
        raise SampleError(
            "mask",
            "MaskTooLarge",
            f"the mask covers {fraction:.1%} of the image, mask.max_fraction={config.max_fraction}",
        )
    if 0 < fraction < config.min_fraction:
        raise SampleError(
            "mask",
            "MaskTooSmall",
            f"the mask covers {fraction:.4%} of the image, mask.min_fraction={config.min_fraction}",
        )
    return mask
