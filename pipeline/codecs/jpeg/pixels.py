"""Decodes JPEG files, and treats every sign of damage in their scans as an error.

Pillow silently returns the part of a damaged scan that could be decoded; libjpeg-turbo warns. Neither detects wrong
bits after which the decoder resynchronizes with the right number of blocks.
"""

import io

import numpy as np
import simplejpeg
from PIL import Image

from pipeline.codecs.jpeg.scans import Scan, read_picture, with_sound_header
from pipeline.errors import MACHINE_ERRORS, SampleError

JPEG_MODES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}  # Pillow's: TurboJPEG's
_ARITHMETIC = (0xC9, 0xCA)
_END_OF_IMAGE = b"\xff\xd9"
_UNKNOWN_LAYOUT = "Could not determine subsampling"  # TurboJPEG's refusal of what libjpeg can decode
_FILLER = b"\x55" * 64
_MAX_MCU_PX = 32  # the last pixels of an arithmetic code may depend on what follows it
_PREMATURE_END, _MISSING_SCANS = "premature end of data segment", "premature end, its last scans are missing"


def decode_jpeg(data: bytes, mode: str, stage: str = "decode") -> np.ndarray:
    """Decode a JPEG to the pixels that Pillow decodes, faster, and only if its scans are whole.

    Args:
        data: the file; only its first picture is read.
        mode: Pillow's mode of it: ``L``, ``RGB`` or ``CMYK``.
        stage: named in errors.

    Returns:
        (H, W), (H, W, 3) or (H, W, 4) uint8.

    Raises:
        SampleError: data is missing, left over or wrong.
    """
    try:
        pixels, data = _decode_strictly(data, mode)
    except ValueError as error:
        if _UNKNOWN_LAYOUT not in str(error):
            raise _damaged(stage, str(error)) from error
        return _decode_by_pillow(data, stage)
    picture = read_picture(data)
    if picture.missing_scans:
        raise _damaged(stage, _MISSING_SCANS)
    # No decoder warns of an arithmetic code that ends too soon.
    if picture.frame in _ARITHMETIC and _depends_on_what_follows(data, picture.scans[-1], pixels, _MAX_MCU_PX):
        raise _damaged(stage, _PREMATURE_END)
    return pixels


def _decode_strictly(data: bytes, mode: str) -> tuple[np.ndarray, bytes]:
    """Return pixels and the bytes they were decoded from: the file, or one without flaws that affect no pixel."""
    space = JPEG_MODES[mode]
    try:
        pixels = simplejpeg.decode_jpeg(data, space)
    except ValueError:
        sound = with_sound_header(data)
        if sound == data:
            raise
        data, pixels = sound, simplejpeg.decode_jpeg(sound, space)
    if mode == "CMYK":
        return 255 - pixels, data  # Pillow takes inks to be inverted, as Adobe's are
    return (pixels[..., 0] if mode == "L" else pixels), data


def _decode_by_pillow(data: bytes, stage: str) -> np.ndarray:
    """Decode a layout that TurboJPEG does not support, if no pixel is invented."""
    try:
        pixels, picture = _seen_by_pillow(data), read_picture(data)
        is_whole = bool(picture.scans) and not picture.missing_scans
        if is_whole and not _depends_on_what_follows(data, picture.scans[-1], pixels):
            return pixels
    except MACHINE_ERRORS:
        raise
    except Exception as error:
        raise _damaged(stage, str(error)) from error
    raise _damaged(stage, _PREMATURE_END)


def _depends_on_what_follows(data: bytes, scan: Scan, pixels: np.ndarray, margin_px: int = 0) -> bool:
    """Return whether bytes appended to the last scan change pixels, which means that data is missing.

    Args:
        data: the file.
        scan: its last one.
        pixels: as decoded, in the file's own mode.
        margin_px: side of the last corner, which may change.
    """
    other = _seen_by_pillow(data[: scan.end_in(data)] + _FILLER + _END_OF_IMAGE)
    changed = (pixels != other).reshape(*pixels.shape[:2], -1).any(axis=2)
    if margin_px:
        changed[-margin_px:, -margin_px:] = False
    return bool(changed.any())


def _seen_by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data), formats=("JPEG",)))


def _damaged(stage: str, reason: str) -> SampleError:
    is_short = "premature end" in reason.lower() or "truncated" in reason
    kind, what = ("TruncatedImage", "truncated or damaged") if is_short else ("BrokenImage", "damaged")
    return SampleError(stage, kind, f"JPEG is {what}: {reason}")
