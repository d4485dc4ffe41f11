"""Opens detectors for tests as a job does."""

from pathlib import Path

from pipeline.config.mask import MaskConfig
from pipeline.detection.detector import Detector, open_detector
from pipeline.masks.base import open_kind


def fetched(*paths: Path, **keys) -> MaskConfig:
    """The settings of a job with these models, as a worker has them."""
    return open_kind(MaskConfig(kind="detect", model=[str(path) for path in paths], **keys)).fetch({})


def opened(*paths: Path, **keys) -> Detector:
    """The detector of these models."""
    return open_detector(fetched(*paths, **keys))
