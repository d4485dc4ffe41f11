"""Last stage: store the results of a batch and hand on its manifest rows."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pyarrow as pa

from pipeline.config import JobConfig
from pipeline.errors import SampleError
from pipeline.reader import IO_THREADS
from pipeline.records import FAILED, MANIFEST_SCHEMA
from pipeline.sinks import SINKS, ImageSink
from pipeline.storage import Storage


def write_results(batch: pa.Table, config: JobConfig, run_id: str, give_back: bool) -> pa.Table:
    """Store every result and drop its bytes.

    Args:
        batch: manifest rows with a column ``data``, null for failed samples.
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
    write = partial(_write_row, sink=sink, run_id=run_id, give_back=give_back)
    with ThreadPoolExecutor(IO_THREADS) as threads:
        rows = list(threads.map(write, batch.drop_columns("data").to_pylist(), batch["data"]))
    return pa.Table.from_pylist(rows, MANIFEST_SCHEMA)


def _write_row(
    row: dict[str, Any], data: pa.LargeBinaryScalar, sink: ImageSink, run_id: str, give_back: bool
) -> dict[str, Any]:
    row["run_id"] = run_id
    if not data.is_valid:
        return row
    try:
        return row | {"output_uri": sink.write(row["sample_id"], data.as_py())}
    except OSError as error:
        if give_back:
            raise
        fault = SampleError.wrap("write", error)
    nothing = {"output_format": None, "output_bytes": None, "output_sha256": None}
    return row | fault.columns | nothing | {"status": FAILED}
