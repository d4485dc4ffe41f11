"""Bands of a TIFF file beyond its colours: alpha, and those that the file does not explain, such as near infrared.

Pillow drops the second kind, and divides colours by alpha where they are multiplied by it (associated alpha).

A photo whose last band is unexplained has the mode ``LX``, ``RGBX`` or ``RGBX;16``: that of alpha with ``X`` for ``A``.
"""

import imagecodecs
import numpy as np
from PIL import Image, TiffImagePlugin

from pipeline.errors import MACHINE_ERRORS, SampleError

# TIFF's words for a band: without a meaning, alpha that colours are multiplied by, alpha that they are not.
UNSPECIFIED, ASSOCIATED_ALPHA, UNASSOCIATED_ALPHA = (0,), (1,), (2,)
_COLOUR_BANDS = {
    0: 1,
    1: 1,
    2: 3,
    3: 1,
    5: 4,
}  # by photometric interpretation; of the others Pillow knows no extra band
_MODES = {1: "LA", 2: "RGBA"}
_MAX_TILE_PIXELS = 1 << 24  # of an image that is smaller than its tiles


def unexplained(mode: str) -> str:
    """Return the mode of pixels whose alpha turned out to be a band without a meaning."""
    return mode.replace("A", "X")


def without_extra_band(mode: str) -> str:
    """Return the mode of pixels without their unexplained band; any other mode as it is."""
    return mode.replace("X", "")


def extra_samples(image: Image.Image) -> tuple[int, ...] | None:
    """Return what a TIFF says of its bands beyond colour, by TIFF's numbers; ``None`` where it says nothing."""
    return image.tag_v2.get(TiffImagePlugin.EXTRASAMPLES)  # type: ignore[attr-defined]


def stored_mode(image: TiffImagePlugin.TiffImageFile, bits: int) -> str | None:
    """Return the mode of a TIFF of 8 bits whose last band Pillow would drop or divide by; ``None`` for others.

    Raises:
        SampleError: the file has more bands than can be kept.
    """
    photometric = image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 0)
    samples = image.tag_v2.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
    extra = samples - _COLOUR_BANDS.get(photometric, samples)
    kind = extra_samples(image)
    if extra <= 0 or (extra == 1 and kind not in (UNSPECIFIED, ASSOCIATED_ALPHA)):
        return None
    if extra > 1 or photometric not in _MODES or (bits > 8 and _MODES[photometric] != "RGBA"):
        bands = f"{samples} bands, {extra} more than its colours"
        raise SampleError("decode", "UnsupportedMode", f"TIFF with {bands}, cannot be kept exactly")
    mode = _MODES[photometric] if kind == ASSOCIATED_ALPHA else unexplained(_MODES[photometric])
    return mode if bits == 8 else None


def stored_bands(image: Image.Image, data: bytes) -> np.ndarray:
    """Decode every band of a PNG or TIFF file as it is stored: (H, W) or (H, W, bands).

    Raises:
        SampleError: broken, or of another size than the header says.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _check_tiles(image)
    try:
        pixels = imagecodecs.png_decode(data) if image.format == "PNG" else imagecodecs.tiff_decode(data, index=0)
    except MACHINE_ERRORS:
        raise
    except Exception as error:
        raise SampleError("decode", "BrokenImage", f"{image.format} cannot be decoded: {error}") from error
    # The size before Pillow turns it: there is no public name for that.
    stored = image._tile_size if isinstance(image, TiffImagePlugin.TiffImageFile) else image.size
    if pixels.ndim == 3 and pixels.shape[1:] == stored[::-1]:  # each band by itself
        pixels = np.ascontiguousarray(np.moveaxis(pixels, 0, 2))
    if pixels.shape[:2] != stored[::-1]:
        sentence = f"{image.format} is decoded to {pixels.shape[:2]}, its header says {stored[::-1]}"
        raise SampleError("decode", "UnsupportedMode", sentence)
    return pixels


def _check_tiles(image: TiffImagePlugin.TiffImageFile) -> None:
    """Refuse tiles for which memory would lack, which is no fault of the machine."""
    width, height = (image.tag_v2.get(tag, 0) for tag in (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH))
    if not isinstance(width, int) or not isinstance(height, int):
        raise SampleError("decode", "BrokenImage", "TIFF whose tiles have no size")
    if width * height > max(_MAX_TILE_PIXELS, 4 * image.width * image.height):
        sentence = f"TIFF of {image.width}x{image.height} pixels with tiles of {width}x{height}"
        raise SampleError("decode", "BrokenImage", sentence)


def decode_stored(image: TiffImagePlugin.TiffImageFile, mode: str, data: bytes) -> np.ndarray:
    """Decode a TIFF of 8 bits with one band beyond its colours.

    Args:
        image: its header.
        mode: what :func:`stored_mode` found.
        data: the file.

    Returns:
        (H, W, 2 or 4) uint8.

    Raises:
        SampleError: broken, or not what the header says.
    """
    pixels = stored_bands(image, data)
    if pixels.ndim != 3 or pixels.dtype != np.uint8 or pixels.shape[2] != len(mode):
        raise SampleError("decode", "UnsupportedMode", f"TIFF with bands {pixels.shape} of {pixels.dtype} is not kept")
    return pixels


def divided_by_alpha(pixels: np.ndarray) -> np.ndarray:
    """Return (H, W, bands) pixels, uint8 or uint16, whose colours are no longer multiplied by alpha, the last band."""
    full = np.iinfo(pixels.dtype).max
    result, alpha = pixels.copy(), np.maximum(pixels[..., -1:], 1).astype(np.uint32)
    result[..., :-1] = np.minimum((pixels[..., :-1] * np.uint32(full) + alpha // 2) // alpha, full)
    return result
