"""Text that was put over a photo, found in its pixels by rapidocr's detector (the extra ``text``)."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from pipeline.config.mask import MaskConfig
from pipeline.detection.letters import letters_in
from pipeline.masks.drawn import DrawnMask

if TYPE_CHECKING:
    from rapidocr import RapidOCR

MIN_PX = 8  # of a photo's shorter side; what is thinner holds no text
SLIMMEST = 4  # sides of one to so many: the detector enlarges a shorter side to 736 pixels, so it gets a border
TALLEST = 0.25  # of the shorter side that the detector sees; a line of text is not as tall
SURE_LINES = 0.3  # of a pixel, where the detector sees text rather than none


@dataclass(frozen=True)
class TextDetector:
    """Finds lines of overlaid text.

    Args:
        score: minimum confidence of a line, 0 … 1.
        letters: whether only the letters of a line count, see :func:`find_text`.
    """

    score: float
    letters: bool = False

    @staticmethod
    def settings(config: MaskConfig) -> tuple[float, bool]:
        """See :class:`pipeline.detection.detector.Detector`."""
        return config.text_score, config.letters

    @classmethod
    def open(cls, settings: tuple[float, bool]) -> "TextDetector":
        """See :class:`pipeline.detection.detector.Detector`."""
        return cls(*settings)

    def find(self, rgb: np.ndarray) -> DrawnMask:
        """See :class:`pipeline.detection.detector.Detector`."""
        return find_text(rgb, self.score, self.letters)


def find_text(rgb: np.ndarray, score: float, letters: bool = False) -> DrawnMask:
    """Find text of any script and rotation.

    The detector looks at photos of up to 2000 pixels a side; larger ones are scaled down for it. It runs in one thread,
    so the same pixels give the same answer on the same kind of processor; several threads may call at once.

    Args:
        rgb: (H, W, 3) uint8.
        score: minimum confidence of a line, 0 … 1.
        letters: whether to return the letters of a line where they can be told from the ground.

    Returns:
        The filled quadrangles around the lines, (H, W), or the letters in them.
    """
    height, width = rgb.shape[:2]
    canvas = Image.new("1", (width, height))
    if min(height, width) < MIN_PX:
        return DrawnMask(np.asarray(canvas), 0)
    least = -(-max(height, width) // SLIMMEST)
    border = [(0, max(0, least - height)), (0, max(0, least - width)), (0, 0)]
    found = _detector()(np.ascontiguousarray(np.pad(rgb, border, mode="edge")[..., ::-1]))
    scores, written = [], np.zeros((height, width), bool)
    for box, sure in zip(*(() if part is None else part for part in (found.boxes, found.scores)), strict=True):
        if sure >= score and _height_px(box) <= TALLEST * max(least, min(height, width)):
            corners = [(float(x), float(y)) for x, y in box]
            scores.append(float(sure))
            if not (letters and _add_letters(written, rgb, corners, _height_px(box))):
                ImageDraw.Draw(canvas).polygon(corners, fill=1, outline=1)
    return DrawnMask(np.asarray(canvas) | written, len(scores), max(scores, default=None))


def _add_letters(mask: np.ndarray, rgb: np.ndarray, corners: list[tuple[float, float]], height_px: float) -> bool:
    """Add the letters of a line to a mask, (H, W) bool; return whether they can be told from the ground."""
    margin = height_px / 2
    left, top = (max(0, int(min(place) - margin)) for place in zip(*corners, strict=True))
    right, bottom = (int(max(place) + margin) + 1 for place in zip(*corners, strict=True))
    part = slice(top, bottom), slice(left, right)
    if not rgb[part].size:
        return False
    found = letters_in(rgb[part], [(x - left, y - top) for x, y in corners], height_px)
    if found is None:
        return False
    mask[part] |= found
    return True


def _height_px(box: np.ndarray) -> float:
    """The shorter side of a quadrangle, (4, 2) corners in order."""
    return min(float(np.linalg.norm(box[0] - box[1])), float(np.linalg.norm(box[1] - box[2])))


@lru_cache(1)
def _detector() -> "RapidOCR":
    """The detector of this process; its model is a file of the installed package."""
    from rapidocr import RapidOCR

    engine = "EngineConfig.onnxruntime"
    return RapidOCR(
        params={
            "Global.log_level": "error",
            "Global.use_cls": False,
            "Global.use_rec": False,
            "Det.thresh": SURE_LINES,
            "Det.box_thresh": SURE_LINES,  # the configured one comes after it
            f"{engine}.intra_op_num_threads": 1,
            f"{engine}.inter_op_num_threads": 1,
        }
    )
