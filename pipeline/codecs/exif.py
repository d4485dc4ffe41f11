"""Reads EXIF and its orientation."""

import contextlib
import struct

from PIL import ExifTags, Image

PREFIX = b"Exif\0\0"


def orientation_only(exif: bytes) -> bytes:
    """Return EXIF with the orientation only, with or without ``Exif\\0\\0`` as in the input."""
    tags, kept = loaded(exif), Image.Exif()
    if ExifTags.Base.Orientation in tags:
        kept[ExifTags.Base.Orientation] = tags[ExifTags.Base.Orientation]
    return prefix_of(exif) + kept.tobytes().removeprefix(PREFIX)


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
