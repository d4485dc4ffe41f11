"""Thumbnails of a sample: its photo, hole and result."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from moebius.windows import Box
from pipeline.codecs.decode import decode
from pipeline.codecs.photo import Photo
from pipeline.errors import SampleError
from pipeline.masks.decode import read_mask
from pipeline.report.row_files import RowFiles, reason

PICTURE_PX = 560  # longest side
QUALITY = 80
MAX_PIXELS = 40_000_000  # of a photo that is decoded for a page
HOLE_COLOUR = (230, 30, 60, 150)
SURROUNDINGS_PX = 48  # around a hole, or half of its own side if that is more


@dataclass(frozen=True)
class GalleryItem:
    """One sample as a page shows it.

    Args:
        row: its columns of the manifest.
        before, hole, after: pictures as data URIs, as many as there are, all of the same part of the photo.
        size: (width, height) of these pictures in pixels.
        part: description of the part of the photo; empty for all of it.
        note: why a picture is missing; empty if none is.
    """

    row: Mapping[str, Any]
    before: str | None = None
    hole: str | None = None
    after: str | None = None
    size: tuple[int, int] = (0, 0)
    part: str = ""
    note: str = ""


def draw_item(row: Mapping[str, Any], files: RowFiles) -> GalleryItem:
    """Draw the pictures of a sample; of a large photo only the surroundings of its hole."""
    try:
        return _draw(row, files)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one sample, the others are shown
        return GalleryItem(row, note=f"no picture: {reason(error)}")


def _draw(row: Mapping[str, Any], files: RowFiles) -> GalleryItem:
    notes = [files.missing] if files.missing else []
    before = hole = after = None
    if files.inputs is not None and row["width"]:  # else it could not be decoded
        try:
            photo = decode(files.inputs.image, MAX_PIXELS)
            before = _seen(photo)
            if files.mask is not None:
                hole = read_mask(files.inputs.mask, photo, files.mask, MAX_PIXELS)
        except SampleError as error:
            if error.message != row["error_message"]:  # else it is known
                notes.append(error.message)
    if files.result is not None:
        after = _seen(decode(files.result, MAX_PIXELS))
    part = _part(hole) if hole is not None else None
    cut = part.slices if part else (slice(None), slice(None))
    first = next((pixels[cut] for pixels in (after, before) if pixels is not None), None)
    if first is None:
        return GalleryItem(row, note="; ".join(notes))
    height, width = first.shape[:2]
    scale = min(1.0, PICTURE_PX / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return GalleryItem(
        row,
        before=_photo_uri(before[cut], size) if before is not None else None,
        hole=_hole_uri(hole[cut], size) if hole is not None and hole.any() else None,
        after=_photo_uri(after[cut], size) if after is not None else None,
        size=size,
        part=_describe_part(part, row) if part else "",
        note="; ".join(notes),
    )


def _part(hole: np.ndarray) -> Box | None:
    """Return the box of a hole, (H, W) bool, with its surroundings; ``None`` if it is most of the photo."""
    box = Box.around(hole)
    if box is None:
        return None
    part = box.grown(max(SURROUNDINGS_PX, box.longest_px // 2), hole.shape)
    rows, columns = part.bottom - part.top, part.right - part.left
    is_most = rows * columns > hole.size // 2 or max(hole.shape) <= PICTURE_PX
    return None if is_most else part


def _describe_part(part: Box, row: Mapping[str, Any]) -> str:
    size = f"{part.right - part.left}×{part.bottom - part.top}"
    return f"{size} pixels at {part.left}, {part.top} of {row['width']}×{row['height']}"


def _seen(photo: Photo) -> np.ndarray:
    """Return (H, W, 3) uint8, or (H, W, 4) if the photo has alpha."""
    alpha = photo.alpha
    if alpha is None:
        return photo.rgb()
    return np.dstack([photo.rgb(), (alpha >> 8).astype(np.uint8) if alpha.dtype == np.uint16 else alpha])


def _photo_uri(pixels: np.ndarray, size: tuple[int, int]) -> str:
    picture = Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.LANCZOS, reducing_gap=3)
    return _data_uri(picture, quality=QUALITY)


def _hole_uri(hole: np.ndarray, size: tuple[int, int]) -> str:
    """Draw the hole in red, transparent elsewhere."""
    covered = Image.fromarray(hole.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
    red = np.zeros((size[1], size[0], 4), np.uint8)
    red[np.asarray(covered) > 0] = HOLE_COLOUR
    return _data_uri(Image.fromarray(red), lossless=True)


def _data_uri(picture: Image.Image, **settings: object) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", **settings)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
