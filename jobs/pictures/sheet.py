"""Pictures side by side with a line of text, and many of these on one sheet."""

import textwrap
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.errors import ConfigError

CELL_PX, LINE_PX, GAP_PX = 360, 14, 6
MOST_PX = 65500  # of a sheet's side: what a JPEG holds, and no viewer opens more
HOLE_COLOUR = (220, 30, 40)
NOTHING = np.full((CELL_PX // 4, CELL_PX, 3), 230, np.uint8)  # in the place of a photo that cannot be shown


def with_hole(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A photo, (H, W, 3) uint8, scaled down to a cell, with red wherever a mask, (H, W) bool, is true in part."""
    picture = _scaled_down(rgb)
    covered = Image.fromarray(mask.astype(np.uint8) * 255).resize(picture.size, Image.Resampling.BOX)
    hole = np.array(picture)
    hole[np.asarray(covered) > 0] = HOLE_COLOUR
    return hole


def strip(photos: Sequence[np.ndarray], label: str) -> Image.Image:
    """Photos, (H, W, 3) uint8, scaled down and side by side below a text, of as many lines as it needs."""
    pictures = [_scaled_down(pixels) for pixels in photos]
    width = max(CELL_PX, sum(picture.width + GAP_PX for picture in pictures))
    lines = _lines(label, width - GAP_PX)
    top = len(lines) * LINE_PX + GAP_PX
    drawn = Image.new("RGB", (width, max(picture.height for picture in pictures) + top), "white")
    left = 0
    for picture in pictures:
        drawn.paste(picture, (left, top))
        left += picture.width + GAP_PX
    ImageDraw.Draw(drawn).multiline_text((2, 2), "\n".join(lines), fill="black")
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
    """Write strips, so many beside each other, as one picture into a folder that exists.

    Raises:
        ConfigError: more strips than a picture has room for.
    """
    columns = min(columns, len(strips))
    lines = [strips[start : start + columns] for start in range(0, len(strips), columns)]
    width = max(drawn.width for drawn in strips) + GAP_PX
    heights = [max(drawn.height for drawn in line) + GAP_PX for line in lines]
    size = (width * columns, sum(heights))
    if max(size) > MOST_PX:
        raise ConfigError(f"a sheet of {size[0]}x{size[1]} pixels is too large: fewer pictures, or other --columns")
    sheet = Image.new("RGB", size, "white")
    top = 0
    for line, height in zip(lines, heights, strict=True):
        for column, drawn in enumerate(line):
            sheet.paste(drawn, (column * width, top))
        top += height
    sheet.save(path)


def _scaled_down(pixels: np.ndarray) -> Image.Image:
    picture = Image.fromarray(pixels)
    picture.thumbnail((CELL_PX, CELL_PX))
    return picture


def _lines(text: str, width_px: int) -> list[str]:
    """A text in lines that fit a width, with what Pillow's own font does not have written as its code."""
    font, count = ImageFont.load_default(), width_px
    text = text.encode("unicode_escape").decode()
    while True:
        lines = textwrap.wrap(text, count)
        if all(font.getlength(line) <= width_px for line in lines):
            return lines
        count -= 1
