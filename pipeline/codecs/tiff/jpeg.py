"""Reads the settings of JPEG inside TIFF files, as scanners and maps have it, and encodes pixels with them."""

import io
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin, TiffImagePlugin

from pipeline.codecs.jpeg import segments as jpeg_segments
from pipeline.codecs.jpeg import settings as jpeg_settings
from pipeline.codecs.tiff.writer import JpegStrip

MAX_SIDE_PX = 65500  # of libjpeg
# Offsets and lengths.
_STRIPS = TiffImagePlugin.STRIPOFFSETS, TiffImagePlugin.STRIPBYTECOUNTS
_TILES = TiffImagePlugin.TILEOFFSETS, TiffImagePlugin.TILEBYTECOUNTS
_RGB, _YCBCR = 2, 6
_END_BYTES, _START_BYTES = 2, 2
_FACTORS = {0: (1, 1), 1: (2, 1), 2: (2, 2)}  # of chroma, by Pillow's numbers


def stored_settings(image: TiffImagePlugin.TiffImageFile, data: bytes) -> dict[str, Any]:
    """Return what Pillow's JPEG encoder needs to store pixels at least as well as a TIFF file does.

    Returns:
        ``qtables`` by band, ``subsampling``, ``keep_rgb``; nothing where they cannot be read.
    """
    common = image.tag_v2.get(TiffImagePlugin.JPEGTABLES, b"")
    found = [part for part in _parts(image, data, common) if part is not None]
    tables = [jpeg_settings.component_tables(part) for part in found]
    if not tables or not all(tables):
        return {}
    bands = {len(part.layer) for part in found}
    is_one_kind = len(bands) == 1 and len({len(tables_of_part) for tables_of_part in tables}) == 1
    is_by_band = is_one_kind and bands == {image.tag_v2.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)}
    # Keep the finest tables: for each band if all parts have the same ones, otherwise one for all.
    finest = (
        np.min(tables, axis=0) if is_by_band else np.min([table for part in tables for table in part], axis=0)[None]
    )
    photometric = image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION)
    is_subsampled = photometric == _YCBCR and bands == {3}
    sampling = min(max(JpegImagePlugin.get_sampling(part), 0) for part in found) if is_subsampled else 0
    return {"qtables": finest.tolist(), "subsampling": sampling, "keep_rgb": photometric == _RGB}


def encode_strip(pixels: np.ndarray, mode: str, settings: dict[str, Any]) -> JpegStrip:
    """Encode pixels as the only strip of a TIFF file.

    Args:
        pixels: (H, W[, bands]) uint8, at most ``MAX_SIDE_PX`` a side.
        mode: ``L``, ``RGB`` or ``CMYK``.
        settings: what :func:`stored_settings` found.
    """
    is_cmyk, is_rgb = mode == "CMYK", mode == "RGB" and settings["keep_rgb"]
    image = Image.fromarray(~pixels, mode) if is_cmyk else Image.fromarray(pixels)  # Pillow inverts inks
    options = {"keep_rgb": True} if is_rgb else {"subsampling": settings["subsampling"]} if mode == "RGB" else {}
    file = io.BytesIO()
    image.save(file, "JPEG", qtables=settings["qtables"], **options)
    data = jpeg_segments.without_adobe(file.getvalue())
    return JpegStrip(data, _FACTORS[settings["subsampling"]] if mode == "RGB" and not is_rgb else None)


def _parts(
    image: TiffImagePlugin.TiffImageFile, data: bytes, common: bytes
) -> list[JpegImagePlugin.JpegImageFile | None]:
    """Open the JPEG files inside a TIFF: all of them if each has tables of its own, otherwise the first."""
    for offset_tag, length_tag in (_STRIPS, _TILES):
        offsets, lengths = image.tag_v2.get(offset_tag, ()), image.tag_v2.get(length_tag, ())
        if offsets and lengths:
            strips = list(zip(offsets, lengths, strict=False))
            strips = strips[:1] if common and image.tag_v2.get(TiffImagePlugin.PLANAR_CONFIGURATION) != 2 else strips
            return [_opened(common, data[start : start + length]) for start, length in strips]
    return []


def _opened(common: bytes, part: bytes) -> JpegImagePlugin.JpegImageFile | None:
    """Open a strip or tile as JPEG, with the tables that it shares with the others; ``None`` if it is no JPEG."""
    whole = common[:-_END_BYTES] + part[_START_BYTES:] if common else part
    try:
        return JpegImagePlugin.JpegImageFile(io.BytesIO(whole))
    except (SyntaxError, OSError, ValueError, IndexError, KeyError):
        return None
