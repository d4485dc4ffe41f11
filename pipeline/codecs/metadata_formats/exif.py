"""Reads EXIF, and what of it pixels need."""

import contextlib
import math
import struct
from numbers import Real
from typing import Any

from PIL import ExifTags, Image

PREFIX = b"Exif\0\0"
# For each orientation: from the image as it is stored to the image as viewers show it.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # orientations that exchange width and height
_COLOUR_SPACES = (1, 2, 0xFFFF)  # sRGB, Adobe RGB of some writers, none of these
_COLOUR_RULES = ("R98", "R03")  # of the interoperability directory: sRGB, Adobe RGB
_RESOLUTION_UNITS = (1, 2, 3)
_BROKEN = (ArithmeticError, AttributeError, LookupError, SyntaxError, TypeError, ValueError, struct.error)


def orientation_only(exif: bytes) -> bytes:
    """Return EXIF with the orientation only, with or without ``Exif\\0\\0`` as in the input."""
    tags, kept = loaded(exif), Image.Exif()
    if ExifTags.Base.Orientation in tags:
        kept[ExifTags.Base.Orientation] = tags[ExifTags.Base.Orientation]
    return prefix_of(exif) + kept.tobytes().removeprefix(PREFIX)


def needed_by_pixels(exif: bytes) -> bytes:
    """Return EXIF with only orientation, resolution, colour space and gamma, each only if its value is a valid one.

    Args:
        exif: with or without ``Exif\\0\\0``, from outside.

    Returns:
        EXIF with ``Exif\\0\\0``; empty if it says nothing of these.
    """
    tags, kept, base = loaded(exif), Image.Exif(), ExifTags.Base
    if (turned := orientation(exif)) != 1:
        kept[base.Orientation] = turned
    with contextlib.suppress(*_BROKEN):
        across, down = (_positive(tags[tag]) for tag in (base.XResolution, base.YResolution))
        unit = tags.get(base.ResolutionUnit, 2)
        if unit in _RESOLUTION_UNITS:
            kept[base.XResolution], kept[base.YResolution], kept[base.ResolutionUnit] = across, down, unit
    colours: dict[int, Any] = {}
    with contextlib.suppress(*_BROKEN):
        photo = tags.get_ifd(ExifTags.IFD.Exif)
        if photo.get(base.ColorSpace) in _COLOUR_SPACES:
            colours[base.ColorSpace] = photo[base.ColorSpace]
        if base.Gamma in photo:
            colours[base.Gamma] = _positive(photo[base.Gamma])
    with contextlib.suppress(*_BROKEN):
        rule = tags.get_ifd(ExifTags.IFD.Interop)[ExifTags.Interop.InteropIndex]
        if rule in _COLOUR_RULES:
            colours[ExifTags.IFD.Interop] = {ExifTags.Interop.InteropIndex.value: rule}
    if colours:
        kept.get_ifd(ExifTags.IFD.Exif).update(colours)
        kept[ExifTags.IFD.Exif] = 0  # written as what get_ifd says
    return kept.tobytes() if len(kept) else b""


def _positive(value: Any) -> float:
    number = float(value) if isinstance(value, Real) else math.nan
    if math.isfinite(number) and number > 0:
        return number
    raise ValueError


def orientation(exif: bytes) -> int:
    """Return the EXIF orientation, 1 … 8; 1 (no rotation) by default."""
    turned = loaded(exif).get(ExifTags.Base.Orientation)
    return turned if isinstance(turned, int) and 1 <= turned <= 8 else 1


def prefix_of(exif: bytes) -> bytes:
    """Return the ``Exif\\0\\0`` that EXIF begins with, in its own spelling; empty if there is none."""
    return exif[: len(PREFIX)] if exif.startswith(PREFIX[:-1]) else b""  # some writers end it otherwise


def loaded(exif: bytes) -> Image.Exif:
    """Return the tags of EXIF, with or without ``Exif\\0\\0``; some or none of broken EXIF."""
    tags = Image.Exif()
    with contextlib.suppress(SyntaxError, ValueError, struct.error):  # it may be anything
        tags.load(exif[len(prefix_of(exif)) :])
    return tags
