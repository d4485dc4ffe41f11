"""Writes single-strip TIFF files that Pillow cannot: high bit depth, bands without a meaning, JPEG compression."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, TiffImagePlugin

from pipeline.codecs.png.chunks import deflate
from pipeline.codecs.tiff import tags as tiff_tags

_NO_COMPRESSION, _JPEG, _ADOBE_DEFLATE = 1, 7, 8
_HORIZONTAL_PREDICTOR = 2
_GREY, _RGB, _CMYK, _YCBCR = 1, 2, 5, 6
_CENTRED = 1


@dataclass(frozen=True)
class JpegStrip:
    """The pixels of a TIFF as a whole JPEG file.

    Args:
        data: the file.
        subsampling: factors of chroma, across and down, where its colours are YCbCr.
    """

    data: bytes
    subsampling: tuple[int, int] | None = None


def encode_tiff(
    pixels: np.ndarray,
    tags: Image.Exif,
    icc_profile: bytes,
    *,
    is_cmyk: bool = False,
    extra_samples: tuple[int, ...] | None = None,
    compression: str | JpegStrip = "deflate",
) -> bytes:
    """Encode a TIFF file of one strip.

    Args:
        pixels: (H, W) or (H, W, 2 … 4), uint8 or uint16.
        tags: what to say beside them.
        icc_profile: empty for none.
        is_cmyk: the four bands are inks.
        extra_samples: what the last band is, by TIFF's numbers; ``None`` says nothing of it.
        compression: ``raw``, ``deflate``, or the pixels in JPEG.
    """
    height, width, bands = (*pixels.shape, 1)[:3]
    jpeg = compression if isinstance(compression, JpegStrip) else None
    strip = jpeg.data if jpeg else _strip(pixels, compression == "deflate")
    ifd = _described(tags)
    ifd[TiffImagePlugin.IMAGEWIDTH], ifd[TiffImagePlugin.IMAGELENGTH] = width, height
    ifd[TiffImagePlugin.BITSPERSAMPLE] = (8 * pixels.itemsize,) * bands
    ifd[TiffImagePlugin.COMPRESSION] = (
        _JPEG if jpeg else _ADOBE_DEFLATE if compression == "deflate" else _NO_COMPRESSION
    )
    ifd[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] = _CMYK if is_cmyk else _RGB if bands > 2 else _GREY
    ifd[TiffImagePlugin.SAMPLESPERPIXEL] = bands
    ifd[TiffImagePlugin.ROWSPERSTRIP] = height
    ifd[TiffImagePlugin.STRIPBYTECOUNTS] = len(strip)
    ifd[TiffImagePlugin.STRIPOFFSETS] = 0
    ifd[TiffImagePlugin.PLANAR_CONFIGURATION] = 1
    if compression == "deflate":
        ifd[TiffImagePlugin.PREDICTOR] = _HORIZONTAL_PREDICTOR
    if jpeg and jpeg.subsampling:
        ifd[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] = _YCBCR
        ifd[TiffImagePlugin.YCBCRSUBSAMPLING] = jpeg.subsampling
        ifd[tiff_tags.YCBCR_POSITIONING] = _CENTRED
        ifd[TiffImagePlugin.REFERENCEBLACKWHITE] = (0, 255, 128, 255, 128, 255)
    if extra_samples:
        ifd[TiffImagePlugin.EXTRASAMPLES] = extra_samples
    if icc_profile:
        ifd[TiffImagePlugin.ICCPROFILE] = icc_profile
    # Pillow takes offsets to be counted from the end of the directory.
    file = io.BytesIO()
    ifd.save(file)
    return file.getvalue() + strip


def _described(tags: Image.Exif) -> TiffImagePlugin.ImageFileDirectory_v2:
    """Return a directory with the tags of a photo; tags of maps have the types that their readers demand."""
    ifd = TiffImagePlugin.ImageFileDirectory_v2()
    ifd.tagtype.update({tag: kind for tag, kind in tiff_tags.GEOGRAPHIC.items() if tag in tags})
    for tag in tags:
        ifd[tag] = tags.get_ifd(tag) if tag in TiffImagePlugin.TiffTags.TAGS_V2_GROUPS else tags[tag]
    return ifd


def _strip(pixels: np.ndarray, is_compressed: bool) -> bytes:
    stored = pixels.astype(pixels.dtype.newbyteorder("<"))
    if not is_compressed:
        return stored.tobytes()
    stored[:, 1:] -= pixels[:, :-1]
    return deflate(stored)
