"""The worker that hosts the model: decodes ahead of it and encodes behind it, so that the model never waits."""

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, TypeVar

import pyarrow as pa
import torch

from moebius import Inpainter
from moebius.inpainter import window_seed
from pipeline.config import JobConfig
from pipeline.errors import SampleError
from pipeline.records import MANIFEST_SCHEMA, Record
from pipeline.sample_job import SampleJob, fail, finish, new_record, prepare
from pipeline.weight_store import fetch_weights

RESULT_SCHEMA = MANIFEST_SCHEMA.append(pa.field("data", pa.large_binary()))
T = TypeVar("T")
R = TypeVar("R")


class InpaintActor:
    """Turns units of compressed samples into manifest rows with compressed results.

    Ray calls it from several threads at once: one unit is decoded while another is in the model. The model itself is
    used by one thread at a time.

    Args:
        config: the job.
        weights_fingerprint: of the weights that the plan was made for.
        threads: CPU threads of this worker.

    Raises:
        RuntimeError: this node finds other weights under the same name.
    """

    def __init__(self, config: JobConfig, weights_fingerprint: str, threads: int) -> None:
        weights = fetch_weights(config.model.weights, config.storage)
        if weights.fingerprint != weights_fingerprint:
            raise RuntimeError(
                f"{config.model.weights} is {weights.fingerprint} on {socket.gethostname()}, but the job was planned "
                f"with {weights_fingerprint}"
            )
        self.config = config
        self.weights_fingerprint = weights_fingerprint
        self.inpainter = Inpainter(*weights.load(), settings=config.inpaint_settings)
        self.ahead = max(2, threads)
        self.pool = ThreadPoolExecutor(max_workers=self.ahead)
        # One thread runs the model for every caller: each thread would spin up a set of OpenMP threads of its own.
        self.model_thread = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(threads,))
        self.worker = f"{socket.gethostname()}/{os.getpid()}"

    def __call__(self, batch: pa.Table) -> pa.Table:
        """One or more units, as ``read_unit`` makes them → one row a sample, of ``RESULT_SCHEMA``."""
        samples = [sample for unit in batch["samples"].to_pylist() for sample in unit]
        prepared = _in_order(self.pool, self._prepare, samples, self.ahead)
        filled = self._fill(prepared)
        finished = _in_order(self.pool, self._finish, filled, self.ahead)
        return pa.Table.from_pylist([{**asdict(record), "data": data} for record, data in finished], RESULT_SCHEMA)

    def _prepare(self, sample: dict[str, Any]) -> SampleJob | Record:
        record = new_record(sample, self.config)
        record.weights_fingerprint, record.worker = self.weights_fingerprint, self.worker
        try:
            if sample["error_stage"]:
                raise SampleError(sample["error_stage"], sample["error_type"], sample["error_message"])
            return prepare(record, sample["image"], sample["mask"], self.config, self.inpainter.window_px)
        except Exception as error:  # noqa: BLE001 - whatever one sample does, the others go on
            return fail(record, SampleError.wrap("decode", error))

    def _fill(self, jobs: Iterable[SampleJob | Record]) -> Iterator[SampleJob | Record]:
        """Run the windows of all jobs through the model in full batches; jobs come out when all of theirs are in."""
        waiting: deque[SampleJob | Record] = deque()
        batch: list[tuple[SampleJob, int]] = []
        for job in jobs:
            waiting.append(job)
            if isinstance(job, SampleJob):
                for number in range(len(job.windows)):
                    batch.append((job, number))
                    if len(batch) == self.inpainter.batch_size:
                        self._run_model(batch)
                        batch = []
            while waiting and not any(waiting[0] is queued for queued, _ in batch):
                yield waiting.popleft()
        if batch:
            self._run_model(batch)
        yield from waiting

    def _run_model(self, batch: list[tuple[SampleJob, int]]) -> None:
        batch = [(job, number) for job, number in batch if job.record.error_stage is None]
        if not batch:
            return
        try:
            cuts = [job.cut(number, self.inpainter.window_px) for job, number in batch]
            seeds = [window_seed(job.record.seed or 0, number) for job, number in batch]
            fills, seconds = self.model_thread.submit(self._timed_fill, cuts, seeds).result()
            for (job, number), filled in zip(batch, fills, strict=True):
                job.paste(number, filled)
                job.record.inpaint_s = (job.record.inpaint_s or 0.0) + seconds / len(batch)
        except Exception as error:  # noqa: BLE001 - as in _prepare
            if len(batch) > 1:  # find the one at fault; the others are as they would be without it
                for entry in batch:
                    self._run_model([entry])
            else:
                fail(batch[0][0].record, SampleError.wrap("inpaint", error))

    def _timed_fill(self, cuts: list[tuple[Any, Any]], seeds: list[int]) -> tuple[list[Any], float]:
        started = time.perf_counter()
        fills = self.inpainter.fill([pixels for pixels, _ in cuts], [hole for _, hole in cuts], seeds)
        return fills, time.perf_counter() - started

    def _finish(self, job: SampleJob | Record) -> tuple[Record, bytes | None]:
        if isinstance(job, Record):
            return job, None
        if job.record.error_stage:
            return job.record, None
        try:
            return job.record, finish(job, self.config.sink.image_format)
        except Exception as error:  # noqa: BLE001 - as in _prepare
            return fail(job.record, SampleError.wrap("encode", error)), None


def _in_order(pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], ahead: int) -> Iterator[R]:
    """Apply a function in threads, at most ``ahead`` items before the one that is consumed."""
    pending: deque[Future[R]] = deque()
    for item in items:
        pending.append(pool.submit(function, item))
        if len(pending) > ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
