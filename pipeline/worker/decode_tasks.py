"""``run.decode=tasks``: decode and encode in Ray tasks on any node, and send windows to the model."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.config.job import JobConfig
from pipeline.faults.hold import HELD_FRACTION, Hold
from pipeline.faults.judge import fail
from pipeline.metrics import meter_of
from pipeline.records import MANIFEST_SCHEMA, Record, to_table
from pipeline.sinks.base import Outcome, open_sink
from pipeline.sources.inputs import Inputs
from pipeline.sources.reader import Reader
from pipeline.timed import Timed
from pipeline.worker.sample import finish, new_record, prepare
from pipeline.worker.units import samples_of

MAX_WINDOWS = 32  # per sample; one with more is decoded and encoded by the worker itself
BLOCK_BYTES = 16 << 20
_WINDOWS = pa.list_(pa.large_binary())
CUT_SCHEMA = pa.schema(
    [
        *MANIFEST_SCHEMA,
        ("image", pa.large_binary()),  # compressed, as is the mask
        ("mask", pa.large_binary()),
        ("pixels", _WINDOWS),  # (size, size, 3) uint8 of each window; null for a sample that stays with its worker
        ("holes", _WINDOWS),  # (size, size) bool of each window, packed
        ("fills", _WINDOWS),  # (size, size, 3) uint8 of each window, once the model has made them
    ]
)
TRAVELLING = CUT_SCHEMA.names[len(MANIFEST_SCHEMA) :]


def record_of(row: Mapping[str, Any]) -> Record:
    """Extract the manifest row from a row of ``CUT_SCHEMA``."""
    return Record(**{column.name: row[column.name] for column in fields(Record)})


def travelling(records: list[Record], rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Build a table of ``CUT_SCHEMA`` from manifest rows and their windows; missing values are null."""
    table = to_table(records)
    for name in TRAVELLING:
        table = table.append_column(name, pa.array([row.get(name) for row in rows], CUT_SCHEMA.field(name).type))
    return table


def cut_samples(
    batch: pa.Table, config: JobConfig, weights_fingerprint: str, run_id: str, window_px: int
) -> Iterator[pa.Table]:
    """Read and decode units, given in a column ``samples``, and cut their windows into tables of ``CUT_SCHEMA``."""
    reader = Reader(config)
    samples = samples_of(batch)
    records: list[Record] = []
    rows: list[Mapping[str, Any]] = []
    size, inputs_of = 0, Timed(reader.read_all(samples))
    for sample, inputs in zip(samples, inputs_of, strict=True):
        records.append(new_record(sample, config, reader, weights_fingerprint, run_id))
        rows.append(_cut(records[-1], inputs, config, window_px))
        size += sum(len(data) for data in (*rows[-1].get("pixels", []), rows[-1].get("image", b"")))
        if size >= BLOCK_BYTES:
            yield travelling(records, rows)
            records, rows, size = [], [], 0
    if records:
        yield travelling(records, rows)
    meter = meter_of(run_id)
    meter.add("stage_seconds", inputs_of.spent_s, stage="read")
    meter.add("read_bytes", sum(sample["size_bytes"] for sample in samples))


def _cut(record: Record, inputs: Inputs | Exception, config: JobConfig, window_px: int) -> dict[str, Any]:
    stage = "read"
    try:
        if isinstance(inputs, Exception):
            raise inputs
        stage = "decode"
        job = prepare(record, inputs, config, window_px)
    except Exception as error:  # noqa: BLE001 - one sample must not affect the others
        fail(record, stage, error)
        return {}
    if len(job.windows) > MAX_WINDOWS:
        return {"image": inputs.image, "mask": inputs.mask}
    windows = [job.cut(number, window_px) for number in range(len(job.windows))]
    return {
        "image": inputs.image,
        "mask": inputs.mask,
        "pixels": [pixels.tobytes() for pixels, _ in windows],
        "holes": [np.packbits(hole).tobytes() for _, hole in windows],
    }


class CutSample:
    """A sample in the model loop that consists of windows only.

    Args:
        record: its manifest row so far.
        row: of ``CUT_SCHEMA``.
    """

    def __init__(self, record: Record, row: Mapping[str, Any]) -> None:
        self.record, self.holes = record, row["holes"]
        self.windows: list[bytes] = row["pixels"]
        self.fills: list[bytes] = [b""] * len(self.windows)

    def cut(self, number: int, size_px: int) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`pipeline.worker.batcher.Job.cut`."""
        pixels = _square(self.windows[number])
        hole = np.unpackbits(np.frombuffer(self.holes[number], np.uint8), count=pixels.shape[0] ** 2)
        return pixels, hole.reshape(pixels.shape[:2]).astype(bool)

    def paste(self, number: int, filled: np.ndarray) -> None:
        """See :meth:`pipeline.worker.batcher.Job.paste`."""
        self.fills[number] = filled.tobytes()


def finish_samples(batch: pa.Table, config: JobConfig, run_id: str, window_px: int) -> pa.Table:
    """Composite, encode and store filled samples: a table of ``CUT_SCHEMA`` → manifest rows."""
    sink = open_sink(config, run_id, Hold(HELD_FRACTION * config.limits.stall_s))
    outcomes = [_finish(row, config, window_px) for row in batch.to_pylist()]
    write_s = sink.store(outcomes)
    records = [outcome.record for outcome in outcomes]
    meter_of(run_id).count_stages(records, 0.0, write_s)
    return to_table(records)


def _finish(row: Mapping[str, Any], config: JobConfig, window_px: int) -> Outcome:
    outcome, stage = Outcome(record_of(row)), "decode"
    if row["fills"] is None:  # failed, deferred, or done by the worker
        return outcome
    try:
        job = prepare(outcome.record, Inputs(row["image"], row["mask"]), config, window_px)
        for number, fill in enumerate(row["fills"]):
            job.paste(number, _square(fill))
        stage = "encode"
        outcome.result = finish(job, config)
    except Exception as error:  # noqa: BLE001 - as in _cut
        fail(outcome.record, stage, error)
    return outcome


def _square(data: bytes) -> np.ndarray:
    """Return bytes as a (size, size, 3) uint8 array."""
    side_px = math.isqrt(len(data) // 3)
    return np.frombuffer(data, np.uint8).reshape(side_px, side_px, 3)
