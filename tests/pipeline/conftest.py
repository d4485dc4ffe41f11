"""Fixtures of the pipeline's tests, and a job that several of them do."""

from pathlib import Path
from typing import Any

from pipeline.config import JobConfig, MaskConfig, SinkConfig, SourceConfig
from tests.conftest import make_photos
from tests.pipeline.flow_here import here, model_here

__all__ = ["four_photos", "here", "model_here"]


def four_photos(folder: Path, **sink: Any) -> JobConfig:
    """A job over four photos of a folder, which are made, to a sink that is by default beside them."""
    photos, masks = make_photos(folder, count=4, height=24, width=64)
    return JobConfig(
        source=SourceConfig(uri=str(photos)),
        mask=MaskConfig(uri=str(masks)),
        sink=SinkConfig(**{"uri": str(folder / "out"), **sink}),
    )
