"""More than 8 bits a channel: colour, which Pillow cuts to 8, in PNG and TIFF, and the scale of grey in TIFF."""

import io

import imagecodecs
import numpy as np
from PIL import Image, TiffImagePlugin

from pipeline.errors import MACHINE_ERRORS, SampleError
from pipeline.png_chunks import deflate

DEEP_MODES = {2: "LA;16", 3: "RGB;16", 4: "RGBA;16"}  # by channels; grey alone is Pillow's own I;16
_ADOBE_DEFLATE, _NO_COMPRESSION = 8, 1
_HORIZONTAL_PREDICTOR = 2
_WHITE_IS_ZERO = 0
_UNSPECIFIED, _ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA = (0,), (1,), (2,)  # the fourth channel of a TIFF


def decode_deep(image: Image.Image, data: bytes) -> tuple[np.ndarray, str]:
    """The pixels of a file with more than 8 bits a channel.

    Args:
        image: its header, opened and checked.
        data: the file.

    Returns:
        (H, W, channels) uint16, and one of ``DEEP_MODES``.

    Raises:
        SampleError: broken, or anything else than colour of 16 bits.
    """
    if image.format not in ("PNG", "TIFF") or "transparency" in image.info:
        raise SampleError("decode", "UnsupportedMode", _refusal(image))
    try:
        pixels = imagecodecs.png_decode(data) if image.format == "PNG" else imagecodecs.tiff_decode(data, index=0)
    except MACHINE_ERRORS:
        raise
    except Exception as error:
        raise SampleError("decode", "BrokenImage", f"{image.format} of 16 bits cannot be decoded: {error}") from error
    stored = image._tile_size if isinstance(image, TiffImagePlugin.TiffImageFile) else image.size
    if pixels.ndim == 3 and pixels.shape[1:] == stored[::-1]:  # each channel by itself
        pixels = np.ascontiguousarray(np.moveaxis(pixels, 0, 2))
    if pixels.dtype != np.uint16 or pixels.ndim != 3 or pixels.shape[:2] != stored[::-1]:
        raise SampleError("decode", "UnsupportedMode", _refusal(image))
    if pixels.shape[2] not in DEEP_MODES:
        raise SampleError("decode", "UnsupportedMode", _refusal(image))
    return pixels, DEEP_MODES[pixels.shape[2]]


def full_scale_grey(image: TiffImagePlugin.TiffImageFile) -> Image.Image:
    """Loaded grey of 12 or 16 bits as 0, black, to 65535, white: Pillow gives the numbers of the file."""
    is_short = max(image.tag_v2[TiffImagePlugin.BITSPERSAMPLE]) == 12
    is_negative = image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, _WHITE_IS_ZERO) == _WHITE_IS_ZERO
    if not is_short and not is_negative:
        return image
    values = np.asarray(image).astype(np.uint16)
    values = (values << 4 | values >> 8).astype(np.uint16) if is_short else values
    return Image.fromarray(~values if is_negative else values)


def with_png_alpha(pixels: np.ndarray, extra_samples: tuple[int, ...] | None) -> np.ndarray:
    """The pixels of a TIFF as a PNG must say them: no colour is multiplied by alpha, no channel means nothing.

    Args:
        pixels: (H, W, 3 or 4) uint16.
        extra_samples: what the TIFF says of its fourth channel; ``None`` where it says nothing.
    """
    if extra_samples == _UNSPECIFIED:
        return pixels[..., :3]
    if extra_samples != _ASSOCIATED_ALPHA:
        return pixels
    result, alpha = pixels.copy(), np.maximum(pixels[..., 3:], 1).astype(np.uint32)
    result[..., :3] = np.minimum((pixels[..., :3] * np.uint32(65535) + alpha // 2) // alpha, 65535)
    return result


def encode_tiff(
    pixels: np.ndarray,
    mode: str,
    tags: Image.Exif,
    icc_profile: bytes,
    compressed: bool,
    extra_samples: tuple[int, ...] | None = None,
) -> bytes:
    """A TIFF file of one strip, where Pillow has none: 16 bits of colour, and EXIF beside compressed pixels.

    Args:
        pixels: (H, W) or (H, W, 2 … 4), uint8 or uint16.
        mode: of a photo with these pixels.
        tags: what to say beside them.
        icc_profile: empty for none.
        compressed: by Deflate, else not at all.
        extra_samples: what the last channel is, by TIFF's numbers; alpha by itself unless told.
    """
    height, width, channels = (*pixels.shape, 1)[:3]
    ifd = TiffImagePlugin.ImageFileDirectory_v2()
    for tag in tags:
        ifd[tag] = tags.get_ifd(tag) if tag in TiffImagePlugin.TiffTags.TAGS_V2_GROUPS else tags[tag]
    strip = _strip(pixels, compressed)
    ifd[TiffImagePlugin.IMAGEWIDTH], ifd[TiffImagePlugin.IMAGELENGTH] = width, height
    ifd[TiffImagePlugin.BITSPERSAMPLE] = (8 * pixels.itemsize,) * channels
    ifd[TiffImagePlugin.COMPRESSION] = _ADOBE_DEFLATE if compressed else _NO_COMPRESSION
    ifd[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] = 5 if mode == "CMYK" else 2 if channels > 2 else 1
    ifd[TiffImagePlugin.SAMPLESPERPIXEL] = channels
    ifd[TiffImagePlugin.ROWSPERSTRIP] = height
    ifd[TiffImagePlugin.STRIPBYTECOUNTS] = len(strip)
    ifd[TiffImagePlugin.STRIPOFFSETS] = 0
    ifd[TiffImagePlugin.PLANAR_CONFIGURATION] = 1
    if compressed:
        ifd[TiffImagePlugin.PREDICTOR] = _HORIZONTAL_PREDICTOR
    if mode.startswith(("LA", "RGBA")):
        ifd[TiffImagePlugin.EXTRASAMPLES] = extra_samples or _UNASSOCIATED_ALPHA
    if icc_profile:
        ifd[TiffImagePlugin.ICCPROFILE] = icc_profile
    # Pillow takes offsets to be counted from the end of the directory.
    file = io.BytesIO()
    ifd.save(file)
    return file.getvalue() + strip


def _strip(pixels: np.ndarray, compressed: bool) -> bytes:
    stored = pixels.astype(pixels.dtype.newbyteorder("<"))
    if not compressed:
        return stored.tobytes()
    stored[:, 1:] -= pixels[:, :-1]
    return deflate(stored)


def _refusal(image: Image.Image) -> str:
    kind = f"{image.format} of more than 8 bits in mode {image.mode}"
    return f"{kind} cannot be kept exactly; 16 bits are taken as grey, and in PNG and TIFF as colour"
