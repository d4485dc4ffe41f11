"""Last stage: store the results of a batch and hand on its manifest rows."""

import pyarrow as pa

from pipeline.config import JobConfig
from pipeline.errors import SampleError
from pipeline.records import FAILED, MANIFEST_SCHEMA
from pipeline.sinks import SINKS, ImageSink
from pipeline.storage import Storage


def write_results(batch: pa.Table, config: JobConfig, run_id: str, give_back: bool) -> pa.Table:
    """Store every result and drop its bytes.

    Args:
        batch: rows of ``RESULT_SCHEMA``; ``data`` is null for failed samples.
        config: the job.
        run_id: name of this run.
        give_back: leave the samples to a later pass, rather than fail one, when the storage does not answer.

    Returns:
        Rows of ``MANIFEST_SCHEMA``. They are committed by whoever reads them.

    Raises:
        OSError: the storage does not answer, and the samples are given back.
    """
    storage = Storage(config.sink.uri, config.storage)
    sink = SINKS[config.sink.format](storage, config.sink.image_format)
    rows = [_write_row(row, sink, give_back) | {"run_id": run_id} for row in batch.to_pylist()]
    return pa.Table.from_pylist(rows, MANIFEST_SCHEMA)


def _write_row(row: dict, sink: ImageSink, give_back: bool) -> dict:
    data = row.pop("data")
    if data is None:
        return row
    try:
        return row | {"output_uri": sink.write(row["sample_id"], data)}
    except OSError as error:
        if give_back:
            raise
        fault = SampleError.wrap("write", error)
    nothing = {"output_format": None, "output_bytes": None, "output_sha256": None}
    return row | fault.columns | nothing | {"status": FAILED}
