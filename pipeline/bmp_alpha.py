"""Transparency in a BMP file that Pillow leaves out unsaid."""

import numpy as np
from PIL import Image

_PIXELS_START, _HEADER_BYTES, _BITS, _COMPRESSION, _ALPHA_MASK = 10, 14, 28, 30, 66
_PLAIN, _BY_MASKS = 0, (3, 6)
_LEAST_WITH_ALPHA_MASK = 56  # bytes of the header


def has_lost_alpha(image: Image.Image, data: bytes) -> bool:
    """Whether a BMP that was opened without alpha has some: by a mask, or in the fourth byte of its pixels.

    By the format that byte means nothing; programs that write alpha there are common all the same, as those that
    leave it 0 or 255 everywhere.
    """
    if image.mode in ("RGBA", "LA"):
        return False
    compression = _number(data, _COMPRESSION, 4)
    if compression in _BY_MASKS:
        return _number(data, _HEADER_BYTES, 4) >= _LEAST_WITH_ALPHA_MASK and _number(data, _ALPHA_MASK, 4) != 0
    if compression != _PLAIN or _number(data, _BITS, 2) != 32:
        return False
    pixels = np.frombuffer(data, np.uint8)[_number(data, _PIXELS_START, 4) :]
    fourth = pixels[3 : 4 * image.width * image.height : 4]
    return fourth.size > 0 and (fourth.min() != fourth.max() or fourth[0] not in (0, 255))


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")
