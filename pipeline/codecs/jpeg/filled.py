"""Encodes a filled JPEG with the input's own coefficients wherever its hole touches no block."""

import logging
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from pipeline.codecs.jpeg.blocks import repaint_blocks
from pipeline.codecs.jpeg.coefficients import read_coefficients, same_coefficients
from pipeline.codecs.jpeg.entropy import check_available
from pipeline.codecs.jpeg.pixels import decode_jpeg
from pipeline.codecs.jpeg_markers import header_segments
from pipeline.errors import SampleError

logger = logging.getLogger(__name__)

_ADOBE, _QUANTISATION_TABLES = 0xEE, 0xDB
_TRANSFORM_AT, _YCCK = 15, 2  # in Adobe's segment; its number of the transform
_KR, _KB = 0.299, 0.114  # shares of red and blue in luminance (JFIF)


@dataclass(frozen=True)
class Filled:
    """An encoded file.

    Args:
        data: its bytes.
        blocks_changed: blocks with other coefficients than in the input.
    """

    data: bytes
    blocks_changed: int


@dataclass(frozen=True)
class Colours:
    """How the pixels of a photo are stored.

    Args:
        mode: Pillow's name of their layout: ``L``, ``RGB`` or ``CMYK``.
        is_rgb: red, green and blue are stored as they are.
        is_inverted: inks are.
    """

    mode: str
    is_rgb: bool
    is_inverted: bool


def encode_filled(source: bytes, pixels: np.ndarray, mask: np.ndarray, colours: Colours, like: bytes) -> Filled | None:
    """Encode a filled photo; blocks that the hole does not touch keep their coefficients.

    The file is read again: all coefficients must be as intended, and all pixels beyond the reach of touched blocks
    equal to ``pixels``.

    Args:
        source: the JPEG that the photo was decoded from.
        pixels: of the photo, filled.
        mask: (H, W) bool, the hole.
        colours: how they are stored.
        like: any JPEG with the metadata of the result, whose segments before the tables are taken over.

    Returns:
        ``None`` where there is no C compiler, for a kind of file that is not supported (arithmetic codes, samples of
        1½ pixels, …), and if the file is not as intended.
    """
    if not _is_available():
        return None
    try:
        picture = read_coefficients(source, (mask.shape[0], mask.shape[1]))
        is_ycck = colours.mode == "CMYK" and len(picture.components) == 4 and _transform(source) not in (None, 0)
        to_components = partial(_components, colours=colours, is_ycck=is_ycck)
        repainted = repaint_blocks(picture, pixels, mask, to_components)
        data = picture.write(_head(like, is_ycck))
        if not same_coefficients(picture, read_coefficients(data)):
            return None
        decoded = decode_jpeg(data, colours.mode, "encode")
    except (ValueError, SampleError):
        return None
    if colours.mode == "CMYK" and not colours.is_inverted:
        decoded = ~decoded
    if _differs(decoded, pixels, repainted.reach):
        return None
    return Filled(data, repainted.blocks_changed)


@cache
def _is_available() -> bool:
    try:
        check_available()
    except OSError as error:
        logger.warning("JPEG results are encoded as a whole, since their coefficients cannot be read: %s", error)
        return False
    return True


def _components(pixels: np.ndarray, colours: Colours, is_ycck: bool) -> list[np.ndarray]:
    """Return the samples of each component, (h, w) float32."""
    if colours.mode == "L":
        return [pixels.astype(np.float32)]
    if colours.mode == "CMYK":
        inks = 255 - pixels if colours.is_inverted else pixels  # as they are stored
        if is_ycck:
            return [*_luminance_and_colours(255 - inks[..., :3]), inks[..., 3].astype(np.float32)]
        pixels = inks
    elif not colours.is_rgb:
        return _luminance_and_colours(pixels)
    return [pixels[..., band].astype(np.float32) for band in range(pixels.shape[2])]


def _luminance_and_colours(rgb: np.ndarray) -> list[np.ndarray]:
    red, green, blue = (rgb[..., band].astype(np.float32) for band in range(3))
    luminance = _KR * red + (1 - _KR - _KB) * green + _KB * blue
    colours = (blue - luminance) / (2 - 2 * _KB) + 128, (red - luminance) / (2 - 2 * _KR) + 128
    return [np.rint(samples) for samples in (luminance, *colours)]  # decoders round to these


def _transform(data: bytes) -> int | None:
    """Return the number in Adobe's segment; ``None`` without one."""
    found = [
        data[start + _TRANSFORM_AT]
        for marker, start, end in header_segments(data)
        if marker == _ADOBE and data.startswith(b"Adobe", start + 4) and end - start > _TRANSFORM_AT
    ]
    return found[-1] if found else None


def _head(like: bytes, is_ycck: bool) -> bytes:
    """Return the segments of a file before its tables."""
    head = bytearray()
    for marker, start, end in header_segments(like):
        if marker == _QUANTISATION_TABLES:
            return bytes(like[:2] + head)
        segment = bytearray(like[start:end])
        if is_ycck and marker == _ADOBE:
            segment[_TRANSFORM_AT] = _YCCK
        head += segment
    raise ValueError("a JPEG without tables")


def _differs(one: np.ndarray, other: np.ndarray, ignored: np.ndarray) -> bool:
    """Return whether pixels differ outside a mask, (H, W) bool."""
    if one.shape != other.shape:
        return True
    kept, bands = ~ignored, [()] if one.ndim == 2 else [(..., band) for band in range(one.shape[2])]
    return any(bool(((one[band] != other[band]) & kept).any()) for band in bands)
