"""Holes to measure a model on: watermark text, brush strokes, boxes of the size of objects, half a photo; seeded."""

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from moebius.train.data.random_masks import random_mask
from pipeline.config.job import MaskConfig
from pipeline.errors import ConfigError, SampleError
from pipeline.masks.decode import read_mask_file
from pipeline.masks.sizes import scale
from pipeline.report.inspector import NO_LIMIT

WATERMARKS = ("SAMPLE", "© Stock Photo", "do not copy", "PREVIEW", "www.example.com")
LETTER_FRACTION = (0.03, 0.07)  # height of the letters over the shorter side
OBJECT_FRACTION = (0.12, 0.3)  # side of a box over the shorter side
HALF = (0.4, 0.5)  # of a photo, as the paper takes for Places2
REST_FRACTION = 0.5  # of a photo at least is no hole


def text_mask(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Lines of a watermark, turned, all over the photo: (H, W) bool."""
    shorter = min(height, width)
    letters_px = max(8, round(shorter * rng.uniform(*LETTER_FRACTION)))
    side = 2 * max(height, width)
    canvas = Image.new("L", (side, side))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(letters_px)
    words = WATERMARKS[rng.integers(len(WATERMARKS))]
    step = round(draw.textlength(words, font=font)) + 3 * letters_px
    for row, top in enumerate(range(0, side, 4 * letters_px)):
        for left in range(-(row % 2) * step // 2, side, step):
            draw.text((left, top), words, fill=255, font=font, stroke_width=letters_px // 30)
    turned = canvas.rotate(float(rng.uniform(-40, 40)), Image.Resampling.BILINEAR)
    top, left = (side - height) // 2, (side - width) // 2
    return np.asarray(turned.crop((left, top, left + width, top + height))) > 64


def stroke_mask(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Brush strokes, (H, W) bool, about as thick as those of the training."""
    side = max(height, width)
    return random_mask(side, rng, ("thin",))[:height, :width] | random_mask(side, rng, ("medium",))[:height, :width]


def object_mask(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """One or two boxes, (H, W) bool."""
    mask = np.zeros((height, width), bool)
    for _ in range(rng.integers(1, 3)):
        tall, wide = (max(1, round(min(height, width) * rng.uniform(*OBJECT_FRACTION))) for _ in range(2))
        top, left = int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1))
        mask[top : top + tall, left : left + wide] = True
    return mask


def half_mask(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Brush strokes and boxes over 40 to 50 % of the photo, (H, W) bool."""
    side, mask = max(height, width), np.zeros((height, width), bool)
    while mask.mean() < HALF[0]:
        mask = mask | random_mask(side, rng, ("medium",))[:height, :width]
        if mask.mean() > HALF[1]:
            mask[:] = False
    return mask


MASKS: dict[str, Callable[[int, int, np.random.Generator], np.ndarray]] = {
    "text": text_mask,
    "strokes": stroke_mask,
    "objects": object_mask,
    "half": half_mask,
}


def draw_mask(kind: str, name: str, seed: int, height: int, width: int) -> np.ndarray:
    """Draw the hole of one photo, which depends only on kind, name and seed.

    Args:
        kind: a key of ``MASKS``.
        name: of the photo.
        seed: of the evaluation.
        height, width: in pixels.

    Returns:
        (H, W) bool, true = fill: never empty, and never more than half of the photo.
    """
    number = zlib.crc32(f"{kind}/{name}".encode())
    for attempt in range(100):
        mask = MASKS[kind](height, width, np.random.default_rng([seed, number, attempt]))
        if 0 < mask.mean() <= REST_FRACTION:
            return mask
    raise ValueError(f"photos must be large enough for a hole, got {height}x{width} pixels of {name}")


def read_hole(path: Path, height: int, width: int, config: MaskConfig) -> np.ndarray:
    """A hole that others published, as a job would take it, scaled to the photo: (H, W) bool.

    Args:
        path: the mask file.
        height, width: of the photo, in pixels.
        config: how its values are read.

    Raises:
        ConfigError: no mask that a job takes, or no hole in it, or nothing beside it.
    """
    try:
        mask = scale(read_mask_file(path.read_bytes(), config, NO_LIMIT), (height, width))
    except (OSError, SampleError) as error:
        reason = SampleError.wrap("mask", error).message
        raise ConfigError(f"{path} cannot be used as a mask; remove it from the folder: {reason}") from error
    if mask.all() or not mask.any():
        raise ConfigError(f"a mask must be white in the hole and black elsewhere, {path} has one value only")
    return mask
