"""The tags of a TIFF that say something about the photo; those of the file's structure stay behind."""

import math
import struct
from collections.abc import Callable
from typing import Any

from PIL import ExifTags, Image, TiffImagePlugin

from pipeline.codecs.metadata_formats import photoshop, xmp
from pipeline.codecs.metadata_formats.embedded_jpegs import without_jpegs, without_previews

ORIENTATION = ExifTags.Base.Orientation.value
# What EXIF has, too.
DESCRIPTIVE = (
    ExifTags.Base.ImageDescription.value,
    ExifTags.Base.Make.value,
    ExifTags.Base.Model.value,
    ORIENTATION,
    ExifTags.Base.Software.value,
    ExifTags.Base.DateTime.value,
    ExifTags.Base.Artist.value,
    ExifTags.Base.HostComputer.value,
    ExifTags.Base.Copyright.value,
)
_RESOLUTION = (TiffImagePlugin.X_RESOLUTION, TiffImagePlugin.Y_RESOLUTION, TiffImagePlugin.RESOLUTION_UNIT)
XMP, _IPTC, _PHOTOSHOP = TiffImagePlugin.XMP, TiffImagePlugin.IPTC_NAA_CHUNK, TiffImagePlugin.PHOTOSHOP_CHUNK
NEEDED = (ORIENTATION, *_RESOLUTION)  # by pixels to look right
ALL = (*DESCRIPTIVE, *_RESOLUTION, XMP, _IPTC, _PHOTOSHOP)
# Where a map lies, by GeoTIFF and GDAL, with the type of each: pixel scale, tie points, transformation, keys with their
# numbers and names, GDAL's metadata and the value that means nothing, rational polynomials.
_ASCII, _SHORT, _DOUBLE = 2, 3, 12
GEOGRAPHIC = {
    33550: _DOUBLE,
    33922: _DOUBLE,
    34264: _DOUBLE,
    34735: _SHORT,
    34736: _DOUBLE,
    34737: _ASCII,
    42112: _ASCII,
    42113: _ASCII,
    50844: _DOUBLE,
}
YCBCR_POSITIONING = ExifTags.Base.YCbCrPositioning.value
# XMP, IPTC and Photoshop's resources: without thumbnails, and announcements of what a TIFF never had.
_CHANGED: dict[int, Callable[[bytes], bytes]] = {
    XMP: xmp.still_true,
    _IPTC: without_jpegs,
    _PHOTOSHOP: photoshop.without_thumbnail,
}
_GROUPS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)


def kept_tags(image: TiffImagePlugin.TiffImageFile, wanted: tuple[int, ...]) -> Image.Exif:
    """Return the wanted tags of an image, and its Exif and GPS directories."""
    tags, kept = image.getexif(), Image.Exif()
    for tag in wanted:
        if tag in tags and _is_writable(tag, tags[tag]):
            # Pillow reads text as Latin-1 and would write it as ASCII.
            value = tags[tag].encode("latin-1") if isinstance(tags[tag], str) else tags[tag]
            value = _CHANGED.get(tag, without_jpegs)(value) if isinstance(value, bytes) else value
            if value != b"" or tag not in _CHANGED:
                kept[tag] = value
    for group in _GROUPS:
        content = tags.get_ifd(group).items() if group in tags else ()
        # The offset of one more directory would lead nowhere.
        said = {
            tag: without_previews(value)  # which maker notes hold
            for tag, value in content
            if tag != ExifTags.IFD.Interop and _is_writable(tag, value, group)
        }
        if said:
            kept.get_ifd(group).update(said)
            kept[group] = 0  # written as what get_ifd says
    return kept


def _is_writable(tag: int, value: Any, group: int | None = None) -> bool:
    """Return whether a tag's value has the required type."""
    if group is None and tag == ORIENTATION:
        return value in range(1, 9)
    if group is None and tag in DESCRIPTIVE and not isinstance(value, str | bytes):
        return False
    directory = TiffImagePlugin.ImageFileDirectory_v2(group=group)
    if group is None and tag in GEOGRAPHIC:
        directory.tagtype[tag] = GEOGRAPHIC[tag]
    try:
        directory[tag] = value
        directory.tobytes()
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error):
        return False
    return not (isinstance(value, TiffImagePlugin.IFDRational) and math.isnan(value))  # which libtiff refuses
