"""A sink of six results, with names that mean harm, made by the real job without Ray and without a model."""

import numpy as np
import pytest
from PIL import Image

from pipeline.config.job import JobConfig, MaskConfig, ModelConfig, SinkConfig, SourceConfig
from tests.conftest import make_photos, textured
from tests.pipeline.flow_here import quicken, run_here

NAMES = ["<img src=x onerror=alert(1)>.png", "=1+1.png", 'a "b", c.png', "日本語 ü 🐦.png"]
LARGE = "large.jpg"


@pytest.fixture(scope="module")
def reviewed_job(tmp_path_factory) -> JobConfig:
    """A job that has ended: six results, one of a large photo whose EXIF orientation turns it."""
    folder = tmp_path_factory.mktemp("review") / 'it\'s "a" <b>'
    photos, masks = make_photos(folder, count=5)
    for index, name in enumerate(NAMES):
        (photos / f"{index:03}.png").rename(photos / name)
        (masks / f"{index:03}.png").rename(masks / name)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(textured(1600, 2400)).save(photos / LARGE, exif=exif)
    hole = np.zeros((1600, 2400), np.uint8)
    hole[500:560, 700:800] = 255
    Image.fromarray(hole).save(masks / "large.png")
    config = JobConfig(
        source=SourceConfig(uri=str(photos)),
        mask=MaskConfig(uri=str(masks)),
        model=ModelConfig(weights="untrained"),
        sink=SinkConfig(uri=str(folder / "out")),
    )
    with pytest.MonkeyPatch.context() as patch:
        quicken(patch)
        run_here(config)
    return config
