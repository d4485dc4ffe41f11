"""A sink of samples with names and contents that mean harm, made by the real job without Ray."""

import shutil

import numpy as np
import pytest
from PIL import Image

from pipeline.config.job import JobConfig, LimitsConfig, MaskConfig, ModelConfig, SinkConfig, SourceConfig
from tests.conftest import make_photos, textured
from tests.pipeline.flow_here import quicken, run_here

EVIL = "<img src=x onerror=alert(1)>"
NAMES = [
    f"{EVIL}.png",
    "\"'><script>alert(2)<!--.png",
    "日本語 ü 🐦.png",
    "turned\u202egnp.png",
    "two\nlines &amp;.png",
]


def job(folder, weights, **sink) -> JobConfig:
    return JobConfig(
        source=SourceConfig(uri=str(folder / "photos")),
        mask=MaskConfig(uri=str(folder / "masks")),
        model=ModelConfig(weights=str(weights)),
        sink=SinkConfig(**{"uri": str(folder / "out"), **sink}),
        limits=LimitsConfig(max_failed_fraction=1.0),
    )


def spoil(folder) -> None:
    """Give the photos hostile names, make one large, and let some fail or pass through."""
    photos, masks = folder / "photos", folder / "masks"
    for index, name in enumerate(NAMES):
        (photos / f"{index:03}.png").rename(photos / name)
        (masks / f"{index:03}.png").rename(masks / name)
    Image.fromarray(textured(900, 1200)).save(photos / "large.jpg")
    hole = np.zeros((900, 1200), np.uint8)
    hole[500:560, 700:800] = 255
    Image.fromarray(hole).save(masks / "large.png")
    (photos / "broken.png").write_bytes(b"</script><script>alert(3)</script>")
    shutil.copy(photos / "005.png", photos / "without mask.png")
    shutil.copy(photos / "005.png", photos / "untouched.png")
    Image.fromarray(np.zeros((80, 96), np.uint8)).save(masks / "untouched.png")
    shutil.copy(masks / "005.png", masks / "broken.png")


@pytest.fixture(scope="module")
def ended(tmp_path_factory, tiny_weights):
    """Configuration and summary of a job that has ended: 7 ok, 1 unchanged, 2 failed."""
    folder = tmp_path_factory.mktemp("report") / "a \"b' <i>&amp;"
    make_photos(folder)
    spoil(folder)
    with pytest.MonkeyPatch.context() as patch:
        quicken(patch)
        config = job(folder, tiny_weights)
        return config, run_here(config, "20260101T000000-abcdef")
