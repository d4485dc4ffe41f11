"""Sinks with made-up rows, for measurements of what reads them."""

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from pipeline.config.job import JobConfig, MaskConfig, SinkConfig, SourceConfig
from pipeline.manifest.log import Manifest
from pipeline.records import MANIFEST_SCHEMA
from pipeline.storage.storage import Storage

PART_ROWS = 100_000
RUN_ID = "20260101T000000-abcdef"

# configuration, number of the first row and of the one after the last → columns by name
MakeColumns = Callable[[JobConfig, int, int], Mapping[str, Any]]


def made_up_key(index: int) -> str:
    """Name of a photo, and of its mask and result."""
    return f"{index // 10_000:06}/image-{index:010}.jpg"


def fill_sink(folder: str, rows: int, make_columns: MakeColumns) -> tuple[JobConfig, Storage]:
    """Write the manifest of a job below a folder, and return its configuration and sink.

    Args:
        folder: of photos, masks and results, which are not written.
        rows: of the manifest.
        make_columns: what they say; columns that it leaves out are null.
    """
    config = JobConfig(
        source=SourceConfig(uri=f"{folder}/photos"),
        mask=MaskConfig(uri=f"{folder}/masks"),
        sink=SinkConfig(uri=f"{folder}/out"),
    )
    sink = Storage(config.sink.uri)
    manifest = Manifest(sink)
    manifest.load(["sample_id"])
    for start in range(0, rows, PART_ROWS):
        stop = min(start + PART_ROWS, rows)
        columns = make_columns(config, start, stop)
        arrays = [
            pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(stop - start, field.type)
            for field in MANIFEST_SCHEMA
        ]
        manifest.append(pa.Table.from_arrays(arrays, schema=MANIFEST_SCHEMA))
    return config, sink
