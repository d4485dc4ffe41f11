"""Blanks JPEG files inside other bytes, such as the previews in a camera's maker notes."""

import re
from itertools import islice

from pipeline.codecs.jpeg.markers import END_OF_IMAGE, START_OF_SCAN, header_segments, segments

_START_BYTES = 2
_MAX_CANDIDATES, _MAX_HEADER_SEGMENTS = 1000, 100  # which bound the time for bytes from outside; real files have few
# Some cameras change the first byte of a preview. Behind it comes a segment that a JPEG can begin with.
_START = re.compile(rb".\xd8(?=\xff[\xc0-\xc4\xdb\xdd\xe0-\xef\xfe])", re.DOTALL)
_END, _SCAN = bytes((0xFF, END_OF_IMAGE)), bytes((0xFF, START_OF_SCAN))


def without_jpegs(data: bytes) -> bytes:
    """Return bytes of the same length in which every JPEG is zeros; one that is cut short is blanked to the end.

    What only begins like a JPEG, without the headers of a picture, stays as it is. Bytes in which more than
    ``_MAX_CANDIDATES`` places do are blanked from there on.
    """
    result, position = bytearray(data), 0
    for _ in range(_MAX_CANDIDATES):
        if not (found := _START.search(data, position)):
            return bytes(result)
        start = found.start()
        position = start + _START_BYTES
        if _has_picture(data, position):
            position = _end(data, position)
            result[start:position] = bytes(position - start)
    result[position:] = bytes(len(data) - position)
    return bytes(result)


def _has_picture(data: bytes, position: int) -> bool:
    """Return whether segments of a header lead from a position to the start of a scan."""
    for _, _, end in islice(header_segments(data, position), _MAX_HEADER_SEGMENTS):
        position = end
    return data.startswith(_SCAN, position)


def _end(data: bytes, position: int) -> int:
    """Return where the JPEG ends whose segments begin at a position."""
    for _, _, end in segments(data, position):
        position = end
    end = data.find(_END, position)
    return len(data) if end < 0 else end + len(_END)
