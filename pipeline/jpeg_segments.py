"""The parts of a JPEG file around its pixels: what is kept as it stands, to the byte."""

from collections.abc import Iterator

_START_OF_SCAN, _APP0, _APP14 = 0xDA, 0xE0, 0xEE
_HUFFMAN_TABLES = 0xC4
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xDA))
_STANDARD_TABLE_BYTES = (208, 416)  # of grey and of colour
# EXIF and XMP, ICC profile, IPTC, comment. Left behind: thumbnails and pictures further on (JFXX, MPF), which nothing
# would lead to, and signatures of the old pixels (C2PA).
_KEPT = {0xE1: b"", 0xE2: b"ICC_PROFILE\0", 0xED: b"", 0xFE: b""}


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of every segment before the pixels; ends where the file makes no sense."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # padding
            position += 1
            continue
        if marker == _START_OF_SCAN:
            return
        length = 0 if marker in _WITHOUT_LENGTH else int.from_bytes(data[position + 2 : position + 4], "big")
        end = position + 2 + length
        if end > len(data):
            return
        yield marker, position, end
        position = end


def has_optimized_tables(data: bytes) -> bool:
    """Whether a JPEG's Huffman tables were made for it; the standard ones are quicker to encode with, and longer."""
    table_bytes = sum(end - start - 4 for marker, start, end in segments(data) if marker == _HUFFMAN_TABLES)
    return table_bytes not in _STANDARD_TABLE_BYTES


def metadata_segments(data: bytes) -> bytes:
    """EXIF, XMP, ICC profile, IPTC and comments, one after the other."""
    return b"".join(
        data[start:end]
        for marker, start, end in segments(data)
        if marker in _KEPT and data.startswith(_KEPT[marker], start + 4)
    )


def with_metadata(jpeg: bytes, metadata: bytes) -> bytes:
    """An encoded JPEG with segments put where readers look for them: behind the JFIF header."""
    start = 2
    marker, _, end = next(segments(jpeg))
    if marker == _APP0:
        start = end
    return jpeg[:start] + metadata + jpeg[start:]


def without_adobe(jpeg: bytes) -> bytes:
    """A JPEG without Adobe's marker: readers that find none take four components as they are, not inverted."""
    for marker, start, end in segments(jpeg):
        if marker == _APP14 and jpeg.startswith(b"Adobe", start + 4):
            return jpeg[:start] + jpeg[end:]
    return jpeg
