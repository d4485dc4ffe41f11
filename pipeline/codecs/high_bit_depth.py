"""Decodes more than 8 bits per channel: colour in PNG and TIFF, which Pillow cuts to 8, and grey in TIFF."""

import numpy as np
from PIL import Image, TiffImagePlugin

from pipeline.codecs.tiff.bands import UNSPECIFIED, extra_samples, stored_bands, unexplained
from pipeline.errors import SampleError

HIGH_BIT_DEPTH_MODES = {2: "LA;16", 3: "RGB;16", 4: "RGBA;16"}  # by channels; grey only is Pillow's own I;16
_WHITE_IS_ZERO = 0


def decode_high_bit_depth(image: Image.Image, data: bytes) -> tuple[np.ndarray, str]:
    """Decode the pixels of a file with more than 8 bits per channel.

    Args:
        image: its header, opened and checked.
        data: the file.

    Returns:
        (H, W, channels) uint16, and one of ``HIGH_BIT_DEPTH_MODES``, with ``X`` for a channel that a TIFF does not
        explain.

    Raises:
        SampleError: damaged, or not 16 bits per colour channel.
    """
    if image.format not in ("PNG", "TIFF") or "transparency" in image.info:
        raise SampleError("decode", "UnsupportedMode", _refusal(image))
    pixels = stored_bands(image, data)
    if pixels.ndim != 3 or pixels.dtype != np.uint16 or pixels.shape[2] not in HIGH_BIT_DEPTH_MODES:
        raise SampleError("decode", "UnsupportedMode", _refusal(image))
    mode = HIGH_BIT_DEPTH_MODES[pixels.shape[2]]
    return pixels, unexplained(mode) if image.format == "TIFF" and extra_samples(image) == UNSPECIFIED else mode


def full_scale_grey(image: TiffImagePlugin.TiffImageFile) -> Image.Image:
    """Scale loaded grey of 12 or 16 bits to 0 (black) … 65535 (white); Pillow returns the numbers of the file."""
    is_short = max(image.tag_v2[TiffImagePlugin.BITSPERSAMPLE]) == 12
    is_negative = image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, _WHITE_IS_ZERO) == _WHITE_IS_ZERO
    if not is_short and not is_negative:
        return image
    values = np.asarray(image).astype(np.uint16)
    values = (values << 4 | values >> 8).astype(np.uint16) if is_short else values
    return Image.fromarray(~values if is_negative else values)


def _refusal(image: Image.Image) -> str:
    kind = f"{image.format} of more than 8 bits in mode {image.mode}"
    return f"{kind} cannot be kept exactly; 16 bits are taken as grey, and in PNG and TIFF as colour"
