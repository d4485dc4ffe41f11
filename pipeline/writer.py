"""Last stage: store the results of a batch and hand on its manifest rows."""

import pyarrow as pa

from pipeline.config import JobConfig
from pipeline.errors import SampleError
from pipeline.records import FAILED, MANIFEST_SCHEMA
from pipeline.sinks import SINKS, ImageSink
from pipeline.storage import Storage


def write_results(batch: pa.Table, config: JobConfig, run_id: str) -> pa.Table:
    """Store every result and drop its bytes.

    Args:
        batch: rows of ``RESULT_SCHEMA``; ``data`` is null for failed samples.
        config: the job.
        run_id: name of this run.

    Returns:
        Rows of ``MANIFEST_SCHEMA``. They are committed by whoever reads them.
    """
    storage = Storage(config.sink.uri, config.storage)
    sink = SINKS[config.sink.format](storage, config.sink.image_format)
    rows = [_write_row(row, sink) | {"run_id": run_id} for row in batch.to_pylist()]
    return pa.Table.from_pylist(rows, MANIFEST_SCHEMA)


def _write_row(row: dict, sink: ImageSink) -> dict:
    data = row.pop("data")
    if data is None:
        return row
    try:
        return row | {"output_uri": sink.write(row["sample_id"], data)}
    except Exception as error:  # noqa: BLE001 - every storage has errors of its own; one result must not stop the others
        fault = SampleError.wrap("write", error)
        failed = {
            "status": FAILED,
            "error_stage": fault.stage,
            "error_type": fault.kind,
            "error_message": fault.message,
        }
        return row | failed | {"output_format": None, "output_bytes": None, "output_sha256": None}
