"""Random masks to train on: brush strokes or boxes, dilated at random; seeded.

Source: arXiv 2606.19195, like those of its published code, with every length given for 512 px and scaled to the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

REFERENCE_PX = 512
BOX_SHARE = 0.3 / (1 + 0.3)  # of masks: strokes have the weight 1, boxes 0.3


@dataclass(frozen=True)
class Brush:
    """One kind of mask; lengths in pixels of a 512 px image.

    Args:
        strokes: fewest and most strokes.
        width: widest stroke.
        length: longest segment of a stroke.
        box_share: share of masks that are boxes instead of strokes.
        boxes: fewest and most boxes.
        box: shortest and longest side of a box.
        dilated_share: share of masks that are dilated.
    """

    strokes: tuple[int, int]
    width: int
    length: int
    box_share: float = 0.0
    boxes: tuple[int, int] = (0, 0)
    box: tuple[int, int] = (0, 0)
    dilated_share: float = 0.99


BRUSHES = {
    "thin": Brush((4, 70), 20, 100),
    "medium": Brush((4, 10), 100, 200, BOX_SHARE, (1, 5), (30, 150)),
    "thick": Brush((1, 5), 250, 450, BOX_SHARE, (1, 4), (30, 300)),
    "boxes": Brush((0, 0), 0, 0, 1.0, (1, 3), (60, 340)),
    "fine": Brush((10, 120), 14, 60, dilated_share=0.3),
}
PUBLISHED = ("thin", "medium", "thick")  # the others are ours; "fine" is like letters and wires


def random_mask(size_px: int, rng: np.random.Generator, kinds: Sequence[str] = PUBLISHED) -> np.ndarray:
    """Draw a mask.

    Args:
        size_px: side of the square.
        rng: source of all randomness.
        kinds: keys of ``BRUSHES``, one of which is drawn.

    Returns:
        (size, size) bool, true = repaint.
    """
    from scipy import ndimage  # not at the top: settings import this file, and must load fast

    brush = BRUSHES[kinds[int(rng.integers(len(kinds)))]]
    scale = size_px / REFERENCE_PX
    image = Image.new("L", (size_px, size_px))
    draw = ImageDraw.Draw(image)
    is_boxes = rng.random() < brush.box_share
    fewest, most = brush.boxes if is_boxes else brush.strokes
    for _ in range(rng.integers(fewest, most + 1)):
        (_draw_box if is_boxes else _draw_stroke)(draw, brush, scale, size_px, rng)
    mask = np.asarray(image) > 0
    if rng.random() < brush.dilated_share:
        side = max(3, round(int(rng.integers(3, 8)) * scale) | 1)  # filters have odd sides
        for _ in range(rng.integers(1, 3)):
            mask = ndimage.maximum_filter(mask, side)
    return mask


def _draw_box(draw: ImageDraw.ImageDraw, brush: Brush, scale: float, size_px: int, rng: np.random.Generator) -> None:
    width, height = rng.integers(brush.box[0], brush.box[1] + 1, size=2) * scale
    left, top = rng.uniform(0, size_px - width), rng.uniform(0, size_px - height)
    draw.rectangle((left, top, left + width, top + height), fill=255)


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
