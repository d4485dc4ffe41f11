"""Blanks JPEG files inside other bytes, such as the previews in a camera's maker notes."""

import re
from base64 import b64decode, b64encode
from itertools import islice
from typing import Any

from pipeline.codecs.jpeg_markers import END_OF_IMAGE, START_OF_SCAN, header_segments, segments

_START_BYTES = 2
_MAX_CANDIDATES, _MAX_HEADER_SEGMENTS = 1000, 100  # which bound the time for bytes from outside; real files have few
# Some cameras change the first byte of a preview. Behind it comes a segment that a JPEG can begin with.
_START = re.compile(rb".\xd8(?=\xff[\xc0-\xc4\xdb\xdd\xe0-\xef\xfe])", re.DOTALL)
# Base64, in lines of at least 20 letters, with the line ends of text and of XML between them.
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{20,}+(?:(?:\s|&#(?:x[0-9A-Fa-f]+|[0-9]+);)++[A-Za-z0-9+/]++)*+")
_LINE_ENDS = re.compile(rb"((?:\s|&#(?:x[0-9A-Fa-f]+|[0-9]+);)+)")
_GROUP_LETTERS = 4  # that encode three bytes
_END, _SCAN = bytes((0xFF, END_OF_IMAGE)), bytes((0xFF, START_OF_SCAN))


def without_jpegs(data: bytes) -> bytes:
    """Return bytes of the same length in which every JPEG is zeros; one that is cut short is blanked to the end.

    JPEGs in Base64 are blanked, too: their letters become those of zeros.

    What only begins like a JPEG, without the headers of a picture, stays as it is. Bytes in which more than
    ``_MAX_CANDIDATES`` places do are blanked from there on.
    """
    return _BASE64.sub(_without_encoded_jpegs, _without_plain_jpegs(data))


def without_previews(value: Any) -> Any:
    """Return the value of a tag without JPEGs where it is bytes or text, in Latin-1; other values as they are."""
    if isinstance(value, bytes):
        return without_jpegs(value)
    if isinstance(value, str):
        text = value.encode("latin-1", "replace")
        changed = without_jpegs(text)
        return value if changed == text else changed.decode("latin-1")
    return value


def _without_encoded_jpegs(found: re.Match[bytes]) -> bytes:
    """Return lines of Base64, as long as before, in which JPEGs are zeros."""
    parts = _LINE_ENDS.split(found[0])
    before = letters = b"".join(parts[::2])
    for start in range(_GROUP_LETTERS):  # the first letters may belong to something else
        end = start + (len(letters) - start) // _GROUP_LETTERS * _GROUP_LETTERS
        decoded = b64decode(letters[start:end])
        letters = letters[:start] + b64encode(_without_plain_jpegs(decoded)) + letters[end:]
    if letters == before:
        return found[0]
    position = 0
    for at in range(0, len(parts), 2):
        length = len(parts[at])
        parts[at] = letters[position : position + length]
        position += length
    return b"".join(parts)


def _without_plain_jpegs(data: bytes) -> bytes:
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
