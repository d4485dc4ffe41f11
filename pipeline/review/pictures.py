"""Pictures of results for people's eyes: the whole photo at a bounded size, and its hole at full resolution."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from moebius.windows import Box
from pipeline.codecs.metadata_formats.exif import UPRIGHT
from pipeline.report.pictures import RowPixels, hole_picture, photo_picture, surroundings

SHOWN_PX = 1400  # longest side of a picture
WEBP_MAX_PX = 16_383  # a side
QUALITY = 92  # of WebP; a lower one hides seams


@dataclass(frozen=True)
class View:
    """Pictures of one part of a photo, all of one size.

    Args:
        files: WebP by ``before``, ``after`` and ``hole``, as many as there are.
        size: (width, height) in pixels.
    """

    files: Mapping[str, bytes]
    size: tuple[int, int]


def draw_whole(pixels: RowPixels, orientation: int | None) -> View | None:
    """Draw the whole photo, upright and at most ``SHOWN_PX`` a side; ``None`` without any image."""
    return _draw(pixels, None, orientation)


def draw_detail(pixels: RowPixels, orientation: int | None) -> View | None:
    """Draw the hole of a large photo with its surroundings; ``None`` where the whole photo shows as much."""
    part = surroundings(pixels.hole, SHOWN_PX) if pixels.hole is not None else None
    return _draw(pixels, part, orientation) if part else None


def encode_mask(mask: np.ndarray) -> bytes:
    """Encode a mask, (H, W) bool, as a PNG in black and white."""
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(buffer, "PNG")
    return buffer.getvalue()


def mask_hash(mask: np.ndarray) -> str:
    """Return a hash of the size and the pixels of a mask, (H, W) bool, by which a changed one is recognized."""
    shape = f"{mask.shape[1]}x{mask.shape[0]} ".encode()
    return hashlib.sha256(shape + np.packbits(mask).tobytes()).hexdigest()


def encode_stored(image: np.ndarray) -> tuple[bytes, str]:
    """Encode a whole image as it is stored, for tools that draw masks on it; return the file and its extension."""
    picture = photo_picture(image, (image.shape[1], image.shape[0]))
    if max(picture.size) <= WEBP_MAX_PX:
        return _webp(picture, lossless=False), ".webp"
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue(), ".png"


def _draw(pixels: RowPixels, part: Box | None, orientation: int | None) -> View | None:
    cut = part.slices if part else (slice(None), slice(None))
    photos = {"before": pixels.before, "after": pixels.after}
    found = {name: image[cut] for name, image in photos.items() if image is not None}
    if not found:
        return None
    height, width = next(iter(found.values())).shape[:2]
    scale = min(1.0, SHOWN_PX / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    drawn = {name: photo_picture(image, size) for name, image in found.items()}
    if pixels.hole is not None and pixels.hole.any():
        drawn["hole"] = hole_picture(pixels.hole[cut], size)
    turn = UPRIGHT.get(orientation or 1)
    if turn is not None:
        drawn = {name: picture.transpose(turn) for name, picture in drawn.items()}
    files = {name: _webp(picture, lossless=name == "hole") for name, picture in drawn.items()}
    return View(files, next(iter(drawn.values())).size)


def _webp(picture: Image.Image, lossless: bool) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", lossless=lossless, quality=QUALITY, method=2)
    return buffer.getvalue()
