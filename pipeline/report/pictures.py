"""Thumbnails of a sample: its photo, hole and result."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
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


@dataclass
class RowPixels:
    """The decoded files of a row, as far as they can be read.

    Args:
        before, after: (H, W, 3) uint8, or (H, W, 4) with alpha.
        hole: (H, W) bool.
        notes: why one is missing.
    """

    before: np.ndarray | None = None
    hole: np.ndarray | None = None
    after: np.ndarray | None = None
    notes: list[str] = field(default_factory=list)


def read_pixels(row: Mapping[str, Any], files: RowFiles, max_pixels: int) -> RowPixels:
    """Decode the files of a row; images of more than ``max_pixels`` are left out."""
    found = RowPixels(notes=[files.missing] if files.missing else [])
    if files.inputs is not None and row["width"]:  # else it could not be decoded
        try:
            photo = decode(files.inputs.image, max_pixels)
            found.before = _seen(photo)
            if files.mask is not None:
                found.hole = read_mask(files.inputs.mask, photo, files.mask, max_pixels)
        except SampleError as error:
            if error.message != row["error_message"]:  # else it is known
                found.notes.append(error.message)
    if files.result is not None:
        found.after = _seen(decode(files.result, max_pixels))
    return found


def _draw(row: Mapping[str, Any], files: RowFiles) -> GalleryItem:
    found = read_pixels(row, files, MAX_PIXELS)
    before, hole, after, notes = found.before, found.hole, found.after, found.notes
    part = surroundings(hole) if hole is not None else None
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


def surroundings(hole: np.ndarray, shown_px: int = PICTURE_PX) -> Box | None:
    """Return the box of a hole, (H, W) bool, with what is around it.

    Returns ``None`` if that is most of the photo, or if the whole photo is shown anyway, with ``shown_px`` a side.
    """
    box = Box.around(hole)
    if box is None:
        return None
    part = box.grown(max(SURROUNDINGS_PX, box.longest_px // 2), hole.shape)
    rows, columns = part.bottom - part.top, part.right - part.left
    is_most = rows * columns > hole.size // 2 or max(hole.shape) <= shown_px
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
    return data_uri(photo_picture(pixels, size), quality=QUALITY)


def photo_picture(pixels: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """Scale an image, (H, W, 3 or 4) uint8, to a size in pixels (width, height)."""
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3)


def _hole_uri(hole: np.ndarray, size: tuple[int, int]) -> str:
    return data_uri(hole_picture(hole, size), lossless=True)


def hole_picture(hole: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """Draw a hole, (H, W) bool, in red, transparent elsewhere, at a size in pixels (width, height)."""
    covered = Image.fromarray(hole.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
    red = np.zeros((size[1], size[0], 4), np.uint8)
    red[np.asarray(covered) > 0] = HOLE_COLOUR
    return Image.fromarray(red)


def data_uri(picture: Image.Image, **settings: object) -> str:
    """Encode a picture as a WebP in a data URI; ``settings`` are those of Pillow."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", **settings)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
