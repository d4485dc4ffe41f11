"""What a mask says to repaint, pixel by pixel."""

import math

import numpy as np
from PIL import Image
from scipy import ndimage

from pipeline.annotations import draw
from pipeline.codec import load_pixels
from pipeline.config import MaskConfig
from pipeline.errors import SampleError
from pipeline.image_header import open_checked
from pipeline.photo import Photo
from pipeline.png_grey import decode_grey
from pipeline.text_masks import find_text


def read_mask(data: bytes, photo: Photo, config: MaskConfig, max_pixels: int) -> np.ndarray:
    """What to repaint of a photo.

    Args:
        data: the mask file, or the text of annotations; empty for ``kind: alpha`` and ``text``.
        photo: the decoded image.
        config: kind, threshold, inversion, growth and limits.
        max_pixels: limit, checked before a mask file is decoded.

    Returns:
        (H, W) bool, true = repaint.

    Raises:
        SampleError: unreadable, of another size than the image, or covering too much or too little of it.
    """
    shape = (photo.pixels.shape[0], photo.pixels.shape[1])
    if config.kind == "alpha":
        alpha = photo.alpha
        if alpha is None:
            raise SampleError("mask", "NoAlpha", f"mask.kind=alpha, but a {photo.mode} image has no transparency")
        mask = _at_threshold(np.iinfo(alpha.dtype).max - alpha, config)
    elif config.kind == "text":
        mask = find_text(photo.rgb(), config.text_score)
    elif config.kind in ("boxes", "coco"):
        mask = draw(data.decode(), shape, config)
    else:
        mask = _at_threshold(_values(data, max_pixels), config)
    return _checked(_refined(_fitted(mask, shape, config), config), config)


def _values(data: bytes, max_pixels: int) -> np.ndarray:
    """A mask file as one channel: a colour counts by its strongest, transparent pixels as zero."""
    image = open_checked(data, max_pixels, stage="mask")
    if (
        image.format == "PNG"
        and image.mode == "L"
        and "transparency" not in image.info
        and (grey := decode_grey(data)) is not None
    ):
        return grey
    image = load_pixels(image, data, stage="mask")
    is_opaque = "transparency" not in image.info
    if (image.mode in ("1", "L") and is_opaque) or image.mode.startswith("I;16"):
        return np.asarray(image)
    if image.mode == "I" and image.format == "PPM":  # whose full scale is that of 16 bits to Pillow
        return np.asarray(image).astype(np.uint16)
    if image.mode in ("I", "F"):
        raise SampleError(
            "mask", "UnsupportedMode", f"a mask in mode {image.mode} has no full scale; store 8 or 16 bits"
        )
    rgba = np.asarray(image.convert("RGBA"))
    return rgba[..., :3].max(axis=2) * (rgba[..., 3] > 0)


def _at_threshold(values: np.ndarray, config: MaskConfig) -> np.ndarray:
    full_scale = 1 if values.dtype == np.bool_ else np.iinfo(values.dtype).max
    return values >= max(1, math.ceil(config.threshold * full_scale))


def _fitted(mask: np.ndarray, shape: tuple[int, int], config: MaskConfig) -> np.ndarray:
    """A mask of another size, scaled or put into a corner where the configuration says so."""
    if mask.shape == shape:
        return mask
    if config.anchor:
        return _anchored(mask, shape, config.anchor)
    if not config.resize:
        raise SampleError(
            "mask",
            "MaskSizeMismatch",
            f"the mask is {mask.shape[1]}x{mask.shape[0]}, the image is stored as {shape[1]}x{shape[0]} pixels; "
            "mask.resize=true scales masks",
        )
    # Of what is averaged any part counts, so that no stroke is lost.
    scaled = Image.fromarray(mask.astype(np.uint8) * 255).resize(shape[::-1], Image.Resampling.BOX)
    return np.asarray(scaled) > 0


def _anchored(mask: np.ndarray, shape: tuple[int, int], anchor: str) -> np.ndarray:
    vertical, horizontal = anchor.split("-")
    kept = [min(ours, theirs) for ours, theirs in zip(mask.shape, shape, strict=True)]
    rows, columns = (
        (slice(0, length), slice(0, length)) if side in ("top", "left") else (slice(-length, None),) * 2
        for side, length in zip((vertical, horizontal), kept, strict=True)
    )
    result = np.zeros(shape, bool)
    result[rows[0], columns[0]] = mask[rows[1], columns[1]]
    return result


def _refined(mask: np.ndarray, config: MaskConfig) -> np.ndarray:
    if config.invert:
        mask = ~mask
    farthest = max(mask.shape)  # a filter that is wider changes nothing more, and overflows in the end
    if config.close_px:
        side = 2 * min(config.close_px, farthest) + 1
        grown = ndimage.maximum_filter(mask, size=side, mode="constant")
        mask = mask | ndimage.minimum_filter(grown, size=side, mode="constant", cval=True)
    if config.dilate_px:
        mask = ndimage.maximum_filter(mask, size=2 * min(config.dilate_px, farthest) + 1, mode="constant")
    return mask


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
