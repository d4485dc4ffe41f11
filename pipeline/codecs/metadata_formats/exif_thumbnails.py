"""Removes thumbnails and previews from EXIF, which would still show the removed content."""

import contextlib
import struct
from collections.abc import Iterator

from PIL import ExifTags, TiffImagePlugin

from pipeline.codecs.metadata_formats.embedded_jpegs import without_jpegs, without_previews
from pipeline.codecs.metadata_formats.exif import loaded, orientation_only, prefix_of

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_JPEG_START = b"\xff\xd8\xff"
_ENTRY_BYTES = 12
_MAX_DIRECTORIES = 16
_SHORT, _LONG = 3, 4
# Tags of a directory with offset and length of its picture: as JPEG, in strips, in tiles.
_PICTURE_TAGS = (
    (ExifTags.Base.JpegIFOffset, ExifTags.Base.JpegIFByteCount),
    (ExifTags.Base.StripOffsets, ExifTags.Base.StripByteCounts),
    (ExifTags.Base.TileOffsets, ExifTags.Base.TileByteCounts),
)
_GROUPS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop)
Span = tuple[int, int]


def without_thumbnail(exif: bytes) -> bytes:
    """Remove the thumbnails of EXIF, and leave every other byte in its position, as maker notes count offsets.

    Previews inside maker notes, which are JPEGs, become zeros.

    Args:
        exif: with or without ``Exif\\0\\0``, from outside.

    Returns:
        EXIF without thumbnails; only the orientation if they cannot be separated from the rest; the input without JPEGs
        if it is no EXIF.
    """
    prefix = prefix_of(exif)
    tiff = exif[len(prefix) :]
    if tiff[:4] not in _ORDERS:
        return without_jpegs(exif)
    try:
        cleaned = prefix + without_jpegs(_cleaned(tiff, _ORDERS[tiff[:4]]))
    except (struct.error, ValueError):
        return orientation_only(exif) if _JPEG_START in tiff else without_jpegs(exif)
    if cleaned == exif:
        return exif
    said = _said(exif)
    return cleaned if said is not None and _said(cleaned) == said else orientation_only(exif)


def _cleaned(tiff: bytes, order: str) -> bytes:
    """Unlink the directories after the first, and blank their pictures."""
    (first,) = struct.unpack_from(order + "I", tiff, 4)
    link = _link(tiff, order, first)
    below = _sub_directories(tiff, order, first)
    has_link = link + 4 <= len(tiff) and any(tiff[link : link + 4])
    if not has_link and not below:
        return tiff  # there is only one directory
    result = bytearray(tiff)
    result[link : link + 4] = bytes(len(tiff[link : link + 4]))
    directories = [*(_directories(tiff, order, link) if has_link else ()), *below]
    spans = sorted(span for start in directories for span in _pictures(tiff, order, start))
    for start, end in spans:
        result[start:end] = bytes(end - start)
    if spans and max(end for _, end in spans) == len(tiff):
        del result[spans[-1][0] :]
    return bytes(result)


def _link(tiff: bytes, order: str, start: int) -> int:
    """The position of the offset that follows a directory's entries."""
    (count,) = struct.unpack_from(order + "H", tiff, start)
    return start + 2 + _ENTRY_BYTES * count


def _sub_directories(tiff: bytes, order: str, start: int) -> list[int]:
    """Return the offsets of a directory's sub-directories, in which some programs store previews."""
    (count,) = struct.unpack_from(order + "H", tiff, start)
    entries = (start + 2 + _ENTRY_BYTES * index for index in range(count))
    found = [entry for entry in entries if struct.unpack_from(order + "H", tiff, entry)[0] == TiffImagePlugin.SUBIFD]
    return [offset for entry in found for offset in _numbers(tiff, order, entry)[:_MAX_DIRECTORIES]]


def _directories(tiff: bytes, order: str, link: int) -> Iterator[int]:
    """Yield the offsets of the directories after the first; their links may form a cycle."""
    seen: set[int] = set()
    while len(seen) < _MAX_DIRECTORIES and link + 4 <= len(tiff):
        (start,) = struct.unpack_from(order + "I", tiff, link)
        if not start or start in seen:
            return
        seen.add(start)
        yield start
        link = _link(tiff, order, start)


def _pictures(tiff: bytes, order: str, start: int) -> Iterator[Span]:
    """The bytes of a directory's pictures, as far as the file goes."""
    (count,) = struct.unpack_from(order + "H", tiff, start)
    entries = [start + 2 + _ENTRY_BYTES * index for index in range(count)]
    values = {struct.unpack_from(order + "H", tiff, entry)[0]: _numbers(tiff, order, entry) for entry in entries}
    for offsets, lengths in _PICTURE_TAGS:
        for offset, length in zip(values.get(offsets, ()), values.get(lengths, ()), strict=False):
            if offset < len(tiff):
                yield offset, min(offset + length, len(tiff))


def _numbers(tiff: bytes, order: str, entry: int) -> tuple[int, ...]:
    """The value of an entry, where it is a whole number or several."""
    _, kind, count = struct.unpack_from(order + "HHI", tiff, entry)
    if kind not in (_SHORT, _LONG) or count > len(tiff):
        return ()
    letter, size = ("H", 2) if kind == _SHORT else ("I", 4)
    entry = entry + 8 if count * size <= 4 else struct.unpack_from(order + "I", tiff, entry + 8)[0]
    return struct.unpack_from(f"{order}{count}{letter}", tiff, entry)


def _said(exif: bytes) -> str | None:
    """Format all tags except those of thumbnails, without previews, for a comparison; ``None`` for broken EXIF.

    The result is text, since NaN does not equal itself.
    """
    tags = loaded(exif)
    with contextlib.suppress(
        ArithmeticError, AttributeError, LookupError, SyntaxError, TypeError, ValueError, struct.error
    ):
        groups = (dict(tags), *(tags.get_ifd(group) for group in _GROUPS))
        return repr([{tag: without_previews(value) for tag, value in group.items()} for group in groups])
    return None
