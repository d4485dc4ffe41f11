"""Metrics of a job for Prometheus; Ray exports them from every node, under names that begin with ``ray_moebius_``.

They cost about three microseconds each, so workers note them for batches and units, not for samples. Where a cluster
runs without its metrics agent, as a job's own local one may, they go nowhere. Ray forgets a gauge once it has exported
it, so gauges are read anew every few seconds.
"""

import collections
import threading
from collections.abc import Callable, Sequence

import pyarrow as pa
from ray.util.metrics import Counter, Gauge, Histogram

from pipeline.records import FAILED, UNDONE, Record

PREFIX = "moebius_"
RUN = "run"  # the label of all of them: the run's id
READ_GAUGES_S = 5.0  # Ray exports every ten seconds

# Name → description, and the labels in addition to the run's id.
COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "samples": ("samples whose rows are committed", ("status",)),
    "failures": ("failed samples whose rows are committed", ("stage", "error")),
    "given_back": ("samples that a worker gave back, for a fault of its environment or because it left", ()),
    "windows": ("windows that went through the model", ()),
    "model_seconds": ("seconds that calls of the model took", ()),
    "stage_seconds": ("seconds of work on samples: waiting for inputs, decoding and so on", ("stage",)),
    "read_bytes": ("compressed images and masks that were read", ()),
    "written_bytes": ("results", ()),
}
GAUGES: dict[str, str] = {
    "samples_to_do": "samples that this run is to process",
    "model_calls": "calls of the model that can run at once in the whole job",
    "bytes_in_flight": "memory that a worker has reserved for samples between decoding and encoding",
    "windows_waiting": "windows that wait for the model in a worker",
}
HISTOGRAMS: dict[str, tuple[str, list[float]]] = {
    "unit_seconds": ("from a unit's samples to their rows", [1, 3, 10, 30, 100, 300, 1000, 3000]),
}


class Meter:
    """Metrics of one run in one process.

    Args:
        run_id: name of the run.
    """

    def __init__(self, run_id: str) -> None:
        self._readers: dict[str, Callable[[], float]] = {}
        self._closed = threading.Event()
        of_run = {RUN: run_id}
        self._counters = {
            name: Counter(PREFIX + name, text, (RUN, *labels)).set_default_tags(of_run)
            for name, (text, labels) in COUNTERS.items()
        }
        self._gauges = {
            name: Gauge(PREFIX + name, text, (RUN,)).set_default_tags(of_run) for name, text in GAUGES.items()
        }
        self._histograms = {
            name: Histogram(PREFIX + name, text, bounds, (RUN,)).set_default_tags(of_run)
            for name, (text, bounds) in HISTOGRAMS.items()
        }

    def add(self, name: str, value: float, **labels: str) -> None:
        """Increment a counter."""
        if value > 0:
            self._counters[name].inc(value, labels)

    def watch(self, **readers: Callable[[], float]) -> None:
        """Set gauges from these functions regularly, until :meth:`close` or the end of the process."""
        is_first, self._readers = not self._readers, {**self._readers, **readers}
        self._read_gauges()
        if is_first:
            threading.Thread(target=self._keep_reading, daemon=True).start()

    def close(self) -> None:
        """Stop updating the gauges."""
        self._closed.set()

    def _keep_reading(self) -> None:
        while not self._closed.wait(READ_GAUGES_S):
            self._read_gauges()

    def _read_gauges(self) -> None:
        for name, read in self._readers.items():
            self._gauges[name].set(read())

    def observe(self, name: str, value: float) -> None:
        """Record a value in a histogram."""
        self._histograms[name].observe(value)

    def count_committed(self, rows: pa.Table) -> None:
        """Count committed rows by status, and failures by stage and error type."""
        for status, count in collections.Counter(rows["status"].to_pylist()).items():
            self.add("samples", count, status=status)
        outcomes = zip(*(rows[name].to_pylist() for name in ("status", "error_stage", "error_type")), strict=True)
        for (status, stage, kind), count in collections.Counter(outcomes).items():
            if status == FAILED:
                kind = (kind or "").encode("ascii", "backslashreplace").decode()  # Ray takes no other text
                self.add("failures", count, stage=stage or "", error=kind)

    def count_stages(self, records: Sequence[Record], read_s: float, write_s: float) -> None:
        """Add the seconds of each stage of a unit, its output bytes and its deferred samples."""
        self.add("stage_seconds", read_s, stage="read")
        for stage in ("decode", "inpaint", "encode"):
            self.add("stage_seconds", sum(getattr(record, f"{stage}_s") or 0.0 for record in records), stage=stage)
        self.add("stage_seconds", write_s, stage="write")
        self.add("written_bytes", sum(record.output_bytes or 0 for record in records))
        self.add("given_back", sum(record.status in UNDONE for record in records))
