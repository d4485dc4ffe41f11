"""Random masks to train on: brush strokes and boxes, dilated at random; seeded.

Source: arXiv 2606.19195, like those of its published code, with every length given for 512 px and scaled to the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

REFERENCE_PX = 512
DILATE_PROBABILITY = 0.99


@dataclass(frozen=True)
class Brush:
    """One kind of mask; lengths in pixels of a 512 px image.

    Args:
        strokes: fewest and most strokes.
        width: widest stroke.
        length: longest segment of a stroke.
        box_probability: probability that boxes are drawn, too.
        box: shortest and longest side of a box.
    """

    strokes: tuple[int, int]
    width: int
    length: int
    box_probability: float
    box: tuple[int, int]


BRUSHES = {
    "thin": Brush((4, 70), 20, 100, 0.0, (0, 0)),
    "medium": Brush((4, 10), 100, 200, 0.3, (30, 150)),
    "thick": Brush((1, 5), 250, 450, 0.3, (30, 300)),
    "boxes": Brush((0, 0), 0, 0, 1.0, (60, 340)),
}
PUBLISHED = ("thin", "medium", "thick")  # only boxes are ours


def random_mask(size_px: int, rng: np.random.Generator, kinds: Sequence[str] = PUBLISHED) -> np.ndarray:
    """Draw a mask.

    Args:
        size_px: side of the square.
        rng: source of all randomness.
        kinds: keys of ``BRUSHES``, one of which is drawn.

    Returns:
        (size, size) bool, true = repaint.
    """
    brush = BRUSHES[kinds[int(rng.integers(len(kinds)))]]
    scale = size_px / REFERENCE_PX
    image = Image.new("L", (size_px, size_px))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(brush.strokes[0], brush.strokes[1] + 1)):
        _draw_stroke(draw, brush, scale, size_px, rng)
    if rng.random() < brush.box_probability:
        for _ in range(rng.integers(1, 4)):
            width, height = rng.integers(brush.box[0], brush.box[1] + 1, size=2) * scale
            left, top = rng.uniform(0, size_px - width), rng.uniform(0, size_px - height)
            draw.rectangle((left, top, left + width, top + height), fill=255)
    if rng.random() < DILATE_PROBABILITY:
        side = max(3, round(int(rng.integers(3, 8)) * scale) | 1)  # filters have odd sides
        for _ in range(rng.integers(1, 3)):
            image = image.filter(ImageFilter.MaxFilter(side))
    return np.asarray(image) > 0


def _draw_stroke(draw: ImageDraw.ImageDraw, brush: Brush, scale: float, size_px: int, rng: np.random.Generator) -> None:
    width = max(1, round(rng.uniform(0.1, 1) * brush.width * scale))
    point = rng.uniform(0, size_px, size=2)
    angle = rng.uniform(0, 2 * np.pi)
    for _ in range(rng.integers(1, 5)):
        angle += rng.uniform(-1, 1) * np.pi / 2
        length = rng.uniform(0.05, 1) * brush.length * scale
        end = np.clip(point + length * np.array([np.cos(angle), np.sin(angle)]), 0, size_px)
        draw.line((*point, *end), fill=255, width=width)
        for x, y in (point, end):
            draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
        point = end
