"""The worker that hosts the model: decodes ahead of it and encodes behind it, so that the model never waits."""

import contextlib
import os
import socket
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa

from moebius import Inpainter
from moebius.weights import Weights
from pipeline.allocator import keep_freed_memory
from pipeline.budget import ByteBudget
from pipeline.cluster import Pool
from pipeline.config import JobConfig
from pipeline.errors import SampleError
from pipeline.model_loop import ModelLoop
from pipeline.records import Record, to_table
from pipeline.sample_job import SampleJob, decoded_bytes, fail, finish, new_record, prepare
from pipeline.storage import Storage
from pipeline.weight_store import fetch_weights

DATA_FIELD = pa.field("data", pa.large_binary())
DECODED_FRACTION = 0.3  # of a machine's memory
Result = Future[tuple[Record, bytes | None]]


class InpaintActor:
    """Turns units of compressed samples into manifest rows with compressed results.

    Ray calls it from several threads at once: one unit is decoded while another is in the model.

    Args:
        config: the job.
        weights_fingerprint: of the weights that the plan was made for.
        pool: what this worker may use.

    Raises:
        RuntimeError: this node finds other weights under the same name.
    """

    def __init__(self, config: JobConfig, weights_fingerprint: str, pool: Pool) -> None:
        keep_freed_memory()
        weights = fetch_weights(config.model.weights, config.storage)
        if weights.fingerprint != weights_fingerprint:
            raise RuntimeError(
                f"{config.model.weights} is {weights.fingerprint} on {socket.gethostname()}, but the job was planned "
                f"with {weights_fingerprint}"
            )
        self.config = config
        self.source = Storage(config.source.uri, config.storage)
        self.masks = Storage(config.mask.uri, config.storage)
        self.weights_fingerprint = weights_fingerprint
        self.inpainter = self.load_model(weights)
        self.loop = ModelLoop(self.inpainter, pool.threads)
        # Two pools: decoders may wait for bytes that only encoders give back.
        self.decoders = ThreadPoolExecutor(max(2, pool.threads))
        self.encoders = ThreadPoolExecutor(max(2, pool.threads))
        self.budget = ByteBudget(_decoded_bytes(pool))
        self.worker = f"{socket.gethostname()}/{os.getpid()}"

    def load_model(self, weights: Weights) -> Inpainter:
        """The model on this worker's device; benchmarks and drills put another in its place."""
        return Inpainter(*weights.load(), settings=self.config.inpaint_settings)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Units as ``read_units`` makes them → manifest rows with a column ``data``, null for failed samples."""
        samples = batch["samples"].combine_chunks().flatten().to_pylist()
        finished = [result.result() for result in [self._start(sample) for sample in samples]]
        data = pa.array([data for _, data in finished], pa.large_binary())
        return to_table([record for record, _ in finished]).append_column(DATA_FIELD, data)

    def _start(self, sample: dict[str, Any]) -> Result:
        """Send a sample on its way: decoder → model → encoder."""
        result: Result = Future()
        self.decoders.submit(self._decode, sample, result)
        return result

    def _decode(self, sample: dict[str, Any], result: Result) -> None:
        record = new_record(sample, self.config, self.source, self.masks)
        record.weights_fingerprint, record.worker = self.weights_fingerprint, self.worker
        taken_bytes = 0
        try:
            if sample["error_stage"]:
                raise SampleError(sample["error_stage"], sample["error_type"], sample["error_message"])
            taken_bytes = self.budget.take(decoded_bytes(sample["image"], self.config.limits.max_pixels))
            job = prepare(record, sample["image"], sample["mask"], self.config, self.inpainter.window_px)
        except Exception as error:  # noqa: BLE001 - whatever one sample does, the others go on
            self.budget.give_back(taken_bytes)
            result.set_result((fail(record, SampleError.wrap("decode", error)), None))
            return
        repainted = self.loop.repaint(job)
        repainted.add_done_callback(lambda _: self.encoders.submit(self._encode, job, taken_bytes, result))

    def _encode(self, job: SampleJob, taken_bytes: int, result: Result) -> None:
        data = None
        try:
            if job.record.error_stage is None:
                data = finish(job, self.config.sink.image_format)
        except Exception as error:  # noqa: BLE001 - as in _decode
            fail(job.record, SampleError.wrap("encode", error))
        self.budget.give_back(taken_bytes)
        result.set_result((job.record, data))


def _decoded_bytes(pool: Pool) -> int:
    """What the photos inside this worker may take: its share, by cores, of a part of this machine's memory."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # inside a container its own limit counts
        memory_bytes = min(memory_bytes, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    workers_here = max(1, (os.cpu_count() or 1) // pool.threads)
    return int(DECODED_FRACTION * memory_bytes / workers_here)
