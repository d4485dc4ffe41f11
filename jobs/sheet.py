"""Pictures side by side with a line of text, and many of these on one sheet."""

from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CELL_PX, LABEL_PX, GAP_PX = 360, 18, 6
HOLE_COLOUR = (220, 30, 40)
NOTHING = np.full((CELL_PX // 4, CELL_PX, 3), 230, np.uint8)  # in the place of a photo that cannot be shown


def with_hole(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A photo, (H, W, 3) uint8, with red where a mask, (H, W) bool, is true."""
    hole = rgb.copy()
    hole[mask] = HOLE_COLOUR
    return hole


def strip(photos: Sequence[np.ndarray], label: str) -> Image.Image:
    """Photos of one size, (H, W, 3) uint8, scaled down and side by side below a line of text."""
    pictures = [Image.fromarray(pixels) for pixels in photos]
    for picture in pictures:
        picture.thumbnail((CELL_PX, CELL_PX))
    width = sum(picture.width + GAP_PX for picture in pictures)
    drawn = Image.new("RGB", (width, max(picture.height for picture in pictures) + LABEL_PX), "white")
    for index, picture in enumerate(pictures):
        drawn.paste(picture, (index * (picture.width + GAP_PX), LABEL_PX))
    ImageDraw.Draw(drawn).text((2, 3), label, fill="black")
    return drawn


def picture_path(text: str) -> Path:
    """An argument that names a picture to write.

    Raises:
        ArgumentTypeError: a name with another extension.
    """
    if not text.lower().endswith((".png", ".jpg", ".jpeg")):
        raise ArgumentTypeError(f"{text!r} must end in .png or .jpg")
    return Path(text)


def save_sheet(strips: Sequence[Image.Image], columns: int, path: Path) -> None:
    """Write strips, so many beside each other, as one picture into a folder that exists."""
    width = max(drawn.width for drawn in strips) + GAP_PX
    height = max(drawn.height for drawn in strips) + GAP_PX
    lines = -(-len(strips) // columns)
    sheet = Image.new("RGB", (width * min(columns, len(strips)), height * lines), "white")
    for index, drawn in enumerate(strips):
        sheet.paste(drawn, (index % columns * width, index // columns * height))
    sheet.save(path)
