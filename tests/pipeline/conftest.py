"""Fixtures of the pipeline's tests, and a job that several of them do."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.job import JobConfig, MaskConfig, SinkConfig, SourceConfig
from tests.conftest import make_photos
from tests.pipeline.browser import browser
from tests.pipeline.flow_here import here, model_here

__all__ = ["browser", "four_photos", "here", "lines", "model_here"]
DRIVER_LOGGERS = (
    "faults.write_retries",
    "cluster.supervision.staffing",
    "cluster.supervision.supervisor",
    "cluster.supervision.time_limits",
)


@pytest.fixture
def lines(monkeypatch) -> Iterator[list[str]]:
    """What the driver logs, whatever tests before have done to the loggers of this process."""
    found: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    monkeypatch.setattr(logging.root.manager, "disable", logging.NOTSET)
    loggers, collector = [logging.getLogger(f"pipeline.{name}") for name in DRIVER_LOGGERS], Collector()
    for logger in loggers:
        monkeypatch.setattr(logger, "disabled", False)
        logger.addHandler(collector)
        logger.setLevel(logging.INFO)
    yield found
    for logger in loggers:
        logger.removeHandler(collector)
        logger.setLevel(logging.NOTSET)


def four_photos(folder: Path, **sink: Any) -> JobConfig:
    """A job over four photos of a folder, which are made, to a sink that is by default beside them."""
    photos, masks = make_photos(folder, count=4, height=24, width=64)
    return JobConfig(
        source=SourceConfig(uri=str(photos)),
        mask=MaskConfig(uri=str(masks)),
        sink=SinkConfig(**{"uri": str(folder / "out"), **sink}),
    )
