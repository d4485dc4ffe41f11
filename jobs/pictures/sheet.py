"""Contact sheets: strips of pictures under a label, arranged in rows and columns."""

import contextlib
import textwrap
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.errors import ConfigError

CELL_PX, LINE_PX, GAP_PX = 360, 14, 6
MAX_SIDE_PX = 65500  # of a sheet: the limit of JPEG
# On most Linux systems, macOS and Windows.
FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial Unicode.ttf", "arial.ttf")
FONT_PX = 10
NO_LETTER = "\uffff"  # which no font has
HOLE_COLOUR = (220, 30, 40)
NOTHING = np.full((CELL_PX // 4, CELL_PX, 3), 230, np.uint8)  # stands for a photo that cannot be read


def with_hole(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Scale a photo, (H, W, 3) uint8, down to a cell, with red where a mask, (H, W) bool, is true in any pixel."""
    picture = _scaled_down(rgb)
    covered = Image.fromarray(mask.astype(np.uint8) * 255).resize(picture.size, Image.Resampling.BOX)
    hole = np.array(picture)
    hole[np.asarray(covered) > 0] = HOLE_COLOUR
    return hole


def strip(photos: Sequence[np.ndarray], label: str) -> Image.Image:
    """Draw photos, (H, W, 3) uint8, scaled down and side by side, below a label of as many lines as it needs."""
    pictures = [_scaled_down(pixels) for pixels in photos]
    width = max(CELL_PX, sum(picture.width + GAP_PX for picture in pictures))
    lines = _lines(label, width - GAP_PX)
    top = len(lines) * LINE_PX + GAP_PX
    drawn = Image.new("RGB", (width, max(picture.height for picture in pictures) + top), "white")
    left = 0
    for picture in pictures:
        drawn.paste(picture, (left, top))
        left += picture.width + GAP_PX
    for number, line in enumerate(lines):
        ImageDraw.Draw(drawn).text((2, 2 + number * LINE_PX), line, fill="black", font=_font())
    return drawn


def save_sheet(strips: Sequence[Image.Image], columns: int, path: Path) -> None:
    """Write strips, ``columns`` of them per row, as one picture into an existing folder.

    Raises:
        ConfigError: the picture would be larger than ``MAX_SIDE_PX``.
    """
    columns = min(columns, len(strips))
    lines = [strips[start : start + columns] for start in range(0, len(strips), columns)]
    width = max(drawn.width for drawn in strips) + GAP_PX
    heights = [max(drawn.height for drawn in line) + GAP_PX for line in lines]
    size = (width * columns, sum(heights))
    if max(size) > MAX_SIDE_PX:
        raise ConfigError(
            f"a sheet of {size[0]}x{size[1]} pixels is too large: choose fewer samples or other --columns"
        )
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
    """Wrap a text to a width; escape characters that the font does not have."""
    font, count = _font(), width_px
    text = "".join(letter if _is_drawn(letter) else letter.encode("unicode_escape").decode() for letter in text)
    while True:
        lines = textwrap.wrap(text, count)
        if all(font.getlength(line) <= width_px for line in lines):
            return lines
        count -= 1


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the first font of this machine; without one, Pillow's own, which has little more than ASCII."""
    for name in FONTS:
        with contextlib.suppress(OSError):
            return ImageFont.truetype(name, FONT_PX)
    return ImageFont.load_default()


@cache
def _is_drawn(letter: str) -> bool:
    """Return whether the font has a letter, by what it draws instead of those that it lacks."""
    if letter.isascii() or not letter.isprintable():
        return letter.isprintable() and letter != "\\"
    drawn, missing = (_font().getmask(text) for text in (letter, NO_LETTER))
    return drawn.size != missing.size or bytes(drawn) != bytes(missing)
