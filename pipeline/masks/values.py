"""Reads the values of mask files and applies the threshold."""

import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from pipeline.codecs.decode import bits_per_channel, check_whole, load_pixels
from pipeline.codecs.high_bit_depth import decode_high_bit_depth
from pipeline.codecs.identification.header import open_checked
from pipeline.codecs.webp.settings import estimate_quality
from pipeline.config.mask import MaskConfig
from pipeline.errors import MACHINE_ERRORS, SampleError

LOSSY_NOISE = 20  # of 255; about what JPEG and WebP of low quality make of black around white


@dataclass(frozen=True)
class MaskValues:
    """A mask file as one channel.

    Args:
        numbers: (H, W) bool, uint8 or uint16; of colours the strongest channel, times opacity.
        alpha: (H, W) opacity on the same scale; ``None`` if all is opaque.
        colours: (H, W, 3) of a mask in colour.
        noise: largest value that a lossy format may have made of zero.
    """

    numbers: np.ndarray
    alpha: np.ndarray | None = None
    colours: np.ndarray | None = None
    noise: int = 0

    @property
    def full_scale(self) -> int:
        """The value of white."""
        return 1 if self.numbers.dtype == np.bool_ else int(np.iinfo(self.numbers.dtype).max)


def read_values(data: bytes, max_pixels: int, channel: str) -> MaskValues:
    """Decode a mask file.

    Args:
        data: the file.
        max_pixels: limit, checked before a pixel is decoded.
        channel: ``colour``, or ``alpha`` to take only the opacity.

    Raises:
        SampleError: unreadable, without the requested alpha channel, or of a depth without a full scale.
    """
    image = open_checked(data, max_pixels, stage="mask")
    try:
        values = _values(image, data)
    except SampleError as error:  # of the decoder, which takes it for a photo
        raise SampleError("mask", error.kind, error.message) from error
    except MACHINE_ERRORS:
        raise
    except Exception as error:
        message = f"{image.format} in mode {image.mode} cannot be converted: {error}"
        raise SampleError("mask", "BrokenImage", message) from error
    if channel == "colour":
        return replace(values, noise=LOSSY_NOISE) if _is_lossy(image, data) else values
    if values.alpha is None:
        raise SampleError("mask", "NoAlpha", "mask.channel=alpha, but the mask has no transparency")
    return MaskValues(values.alpha)


def at_threshold(values: MaskValues, config: MaskConfig, name: str = "the mask") -> np.ndarray:
    """Return the pixels at or above the threshold, (H, W) bool; zero never is.

    Args:
        values: of a mask.
        config: threshold and inversion; the result is not inverted yet.
        name: of what holds the values, for messages.

    Raises:
        SampleError: there are values, but the threshold does not separate them.
    """
    least = max(1, math.ceil(config.threshold * values.full_scale))
    mask = values.numbers >= least
    if not mask.any():
        _refuse_unreached(values, least, config, name)
    elif config.invert and mask.all():
        _refuse_exceeded(values, config, name)
    return mask


def _is_lossy(image: Image.Image, data: bytes) -> bool:
    is_lossy_webp = image.format == "WEBP" and estimate_quality(data) is not None
    return is_lossy_webp or image.format in ("JPEG", "MPO", "AVIF", "HEIF")


def _values(image: Image.Image, data: bytes) -> MaskValues:
    if image.mode in ("RGB", "RGBA") and bits_per_channel(image, data) > 8:
        check_whole(image, data, "mask")
        return _of_channels(decode_high_bit_depth(image, data)[0])
    image = load_pixels(image, data, stage="mask")
    transparent = image.info.get("transparency")
    if image.mode == "I" and image.format == "PPM":  # whose full scale is that of 16 bits to Pillow
        return MaskValues(np.asarray(image).astype(np.uint16))
    if image.mode in ("I", "F"):
        raise SampleError(
            "mask", "UnsupportedMode", f"a mask in mode {image.mode} has no full scale; store 8 or 16 bits"
        )
    if image.mode.startswith("I;16"):
        numbers = np.asarray(image).astype(np.uint16)
        return MaskValues(numbers) if transparent is None else _with_alpha(numbers, numbers != transparent)
    if image.mode in ("1", "L") and transparent is None:
        return MaskValues(np.asarray(image))
    return _of_channels(np.asarray(image.convert("RGBA")), is_grey=image.mode in ("1", "L", "LA", "La"))


def _of_channels(pixels: np.ndarray, is_grey: bool = False) -> MaskValues:
    """Values of (H, W, 2 … 4) grey and alpha, colour, or colour and alpha."""
    has_alpha, colours = pixels.shape[2] in (2, 4), pixels[..., :3] if pixels.shape[2] > 2 else None
    numbers = pixels[..., 0]
    if colours is not None:
        numbers = np.maximum(np.maximum(numbers, pixels[..., 1]), pixels[..., 2])
    colours = None if is_grey else colours
    full = np.iinfo(pixels.dtype).max
    if not has_alpha or pixels[..., -1].min() == full:
        return MaskValues(numbers, None, colours)
    return _with_alpha(numbers, pixels[..., -1], colours)


def _with_alpha(numbers: np.ndarray, alpha: np.ndarray, colours: np.ndarray | None = None) -> MaskValues:
    """Values times opacity, rounded; opacity may be bool."""
    kind = numbers.dtype
    full, wide = np.iinfo(kind).max, np.uint16 if kind == np.uint8 else np.uint32
    alpha = alpha * kind.type(full) if alpha.dtype == np.bool_ else alpha
    product = numbers.astype(wide) * alpha
    return MaskValues(((product + wide(full // 2)) // wide(full)).astype(kind), alpha, colours)


def _refuse_unreached(values: MaskValues, least: int, config: MaskConfig, name: str) -> None:
    """Refuse values that are all below the threshold; nothing but zeros is an empty mask."""
    largest, alpha = int(values.numbers.max()), values.alpha
    does = "keeps" if config.invert else "fills"
    ways = [f"mask.threshold=0 {does} whatever is not zero"] if largest else []
    if alpha is not None and alpha.min() < least <= alpha.max():
        ways.append(f"mask.channel=alpha {does} whatever is opaque, of any colour")
    if ways:
        raise SampleError(
            "mask",
            "MaskBelowThreshold",
            f"nothing in {name} reaches mask.threshold={config.threshold:g}: its largest value is {largest} of "
            f"{values.full_scale}; {', '.join(ways)}",
        )


def _refuse_exceeded(values: MaskValues, config: MaskConfig, name: str) -> None:
    """Refuse values that are all at the threshold where those below it are to be filled; full scale is empty."""
    least = int(values.numbers.min())
    threshold = (least + 0.5) / values.full_scale  # rounded up it is the next value
    if least < values.full_scale:
        raise SampleError(
            "mask",
            "MaskAboveThreshold",
            f"mask.invert=true fills values below mask.threshold={config.threshold:g}, and {name} has none: "
            f"its smallest value is {least} of {values.full_scale}; mask.threshold={threshold:.6f} "
            "fills that",
        )
