"""Walks through the segments of JPEG files.

Source: ITU-T T.81, annex B.
"""

import re
from collections.abc import Iterator

START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD9))
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)  # in a scan FF 00 is a byte of it, RSTn a part


def segments(data: bytes, position: int = 2) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of every segment up to the end of the picture, skipping bytes between them.

    Args:
        data: contains a JPEG.
        position: behind the first two bytes of the JPEG.
    """
    while (found := MARKER.search(data, position)) and found.end() + 2 <= len(data):
        marker, start = data[found.start() + 1], found.start()
        if marker == END_OF_IMAGE:
            return
        length = 0 if marker in _WITHOUT_LENGTH else int.from_bytes(data[start + 2 : start + 4], "big")
        position = start + 2 + length
        yield marker, start, position


def header_segments(data: bytes, position: int = 2) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of every segment before the pixels; stop at the first bytes that are no segment.

    See :func:`segments` for the arguments.
    """
    for marker, start, end in segments(data, position):
        padding = data[position:start].strip(b"\xff")
        if marker == START_OF_SCAN or padding or end > len(data):
            return
        yield marker, start, end
        position = end
