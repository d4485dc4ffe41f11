"""Writes the cases of an evaluation for programs that cannot be called from here."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.errors import ConfigError
from pipeline.evaluation.evaluator import EvaluationConfig, cases_of
from pipeline.storage.errors import usable

PHOTOS, MASKS = "photos", "masks"


def write_cases(folder: Path, photos: Sequence[Path], config: EvaluationConfig) -> int:
    """Write ``photos/KIND/NAME.png``, with the hole blanked, and ``masks/KIND/NAME.png``, whose hole is white.

    Args:
        folder: to write; must be empty or not exist.
        photos: files, each with another name.
        config: of the evaluation, whose holes are drawn.

    Returns:
        The number of photos written.

    Raises:
        ConfigError: the folder holds something, or cannot be written.
    """
    count = 0
    with usable(f"cannot write {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError(f"{folder} is not empty, it may hold other cases; choose another folder")
        for path in photos:
            for _, task in cases_of(path, config):
                pictures = {PHOTOS: task.image, MASKS: task.mask.astype(np.uint8) * 255}
                for name, pixels in pictures.items():
                    target = folder / name / task.kind / f"{path.stem}.png"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(pixels).save(target)
                count += 1
    return count
