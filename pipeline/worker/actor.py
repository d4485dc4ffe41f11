"""The actor that hosts the model, and overlaps reading, decoding, encoding and writing with it."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial

import pyarrow as pa
import torch
from PIL import Image

from moebius import Inpainter
from moebius.hardware import memory_mb
from moebius.weights import Weights
from pipeline.codecs.identification.header import open_checked
from pipeline.config.job import JobConfig
from pipeline.faults.judge import TimedOut, WorkerLeaving, fail, is_undone
from pipeline.faults.roster import RosterClient, Trouble, worker_name
from pipeline.faults.watchdog import Watchdog
from pipeline.faults.write_retries import HELD_FRACTION, Hold
from pipeline.masks.base import fetched, open_kind
from pipeline.metrics import Meter
from pipeline.records import Record, to_table
from pipeline.signing.signer import ResultSigner, open_signer
from pipeline.sinks.base import Outcome, Sink
from pipeline.sinks.open_sink import open_sink
from pipeline.sources.inputs import Inputs, Sample
from pipeline.sources.reader import Reader
from pipeline.storage.weights import fetch_weights
from pipeline.timed import Timed
from pipeline.worker.batcher import ModelLoop
from pipeline.worker.budget import ByteBudget
from pipeline.worker.ladder import Ladder
from pipeline.worker.memory import keep_freed_memory
from pipeline.worker.node import own_node_resources
from pipeline.worker.pool import Pool
from pipeline.worker.sample import decoded_bytes, finish, new_record, prepare
from pipeline.worker.sample_job import SampleJob
from pipeline.worker.threads import CpuPool, Urgency
from pipeline.worker.units import samples_of

DECODED_FRACTION = 0.3  # of a machine's memory
BATCHES_BESIDE = 3  # besides those in the model: one being cut, one waiting, one being pasted
READ_FACTOR = 3  # reading waits for the network, and may skip other samples of a shard
MAX_ABANDONED = 4  # threads blocked by steps that timed out, before the worker ends itself
HUNG = 72  # exit code


@dataclass
class SampleTask(Outcome):
    """The state of one sample inside a worker, and the memory that it has reserved."""

    reserved_bytes: int = 0
    done: threading.Event = field(default_factory=threading.Event)
    _claim: threading.Lock = field(default_factory=threading.Lock)

    def claim(self) -> bool:
        """Return true for the first caller only, which must then call :meth:`complete`."""
        return self._claim.acquire(blocking=False)

    def complete(self, _: object = None) -> None:
        """Mark the sample as done."""
        self.done.set()

    def wait(self) -> "SampleTask":
        """Block until the sample is done."""
        self.done.wait()
        return self


class InpaintActor:
    """Processes units of samples, stores their results and returns their manifest rows.

    Ray calls it from several threads at once: one unit is decoded while another is in the model.

    Args:
        config: the job.
        weights_fingerprint: of the weights that the plan was made for.
        run_id: name of this run.
        pool: CPU threads and GPU share of this worker.
        roster: where the worker reports.

    Raises:
        RuntimeError: the weights on this node differ from those of the plan.
        ConfigError: the detector of masks does so, or cannot be used here; or results cannot be signed here.
    """

    steps = 0  # finished model calls and samples
    leaving: WorkerLeaving | None = None
    signer: ResultSigner | None = None

    def __init__(
        self, config: JobConfig, weights_fingerprint: str, run_id: str, pool: Pool, roster: RosterClient
    ) -> None:
        keep_freed_memory()
        weights = fetch_weights(config.model.weights, config.storage)
        if weights.fingerprint != weights_fingerprint:
            raise RuntimeError(
                f"{config.model.weights} is {weights.fingerprint} on this node, but the job was planned with "
                f"{weights_fingerprint}"
            )
        config = fetched(config)
        self.config, self.run_id, self.roster = config, run_id, roster
        self.name = worker_name()
        self.reader = Reader(config)
        self.sink = open_sink(config, run_id, self.new_hold())
        self.signer = open_signer(config.sink.c2pa)
        self.weights_fingerprint = weights_fingerprint
        self.inpainter = self.load_model(weights)
        self.ladder = Ladder.of_job(config, self.inpainter.window_px)
        self.meter = Meter(run_id)
        self.watchdog = Watchdog()
        self.loop = ModelLoop(self.inpainter, pool.threads, self._note_batch, self._watch_batch)
        self.cpus = CpuPool(pool.threads)
        self._abandoned_count = 0
        batches = self.loop.runners + BATCHES_BESIDE
        self.budget = ByteBudget(_decoded_bytes(pool), pool.threads + batches * self.inpainter.batch_size)
        self.meter.watch(
            bytes_in_flight=lambda: self.budget.reserved_bytes, windows_waiting=lambda: self.loop.windows_waiting
        )

    def load_model(self, weights: Weights) -> Inpainter:
        """Load the model on this worker's device; benchmarks and tests override this."""
        return Inpainter(*weights.load(), settings=self.config.inpaint_settings)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Process units, lists of ``SAMPLE_SCHEMA`` in a column ``samples``, and return manifest rows."""
        return to_table(self.run(samples_of(batch)))

    def run(self, samples: Sequence[Sample], sink: Sink | None = None) -> list[Record]:
        """Process the samples of a unit and return their rows in order; ``sink`` replaces the job's sink.

        This thread reads and writes; other threads decode, run the model and encode. Each further change of threads
        costs about as much as a small photo.
        """
        started = time.perf_counter()
        tasks = [SampleTask(self._new_record(sample)) for sample in samples]
        inputs = Timed(self._read(samples))
        write_s = (sink or self.sink).store(self._completed(tasks, inputs))
        records = [task.record for task in tasks]
        self.meter.count_stages(records, inputs.spent_s, write_s)
        self.meter.add("read_bytes", sum(sample["size_bytes"] for sample in samples))
        self.meter.observe("unit_seconds", time.perf_counter() - started)
        return records

    def leave(self) -> None:
        """Finish the batches that are in the model, and give everything else back, now and in later calls."""
        self.leaving = WorkerLeaving(f"worker {self.name} leaves before it has begun this sample")
        self.loop.refuse(self.leaving)

    def _read(self, samples: Sequence[Sample]) -> Iterator[Inputs | Exception]:
        inputs = self.reader.read_all(samples)
        for sample in samples:
            die = partial(self._die_hung, [sample["sample_id"]])
            with self.watchdog.watching(READ_FACTOR * self.config.limits.sample_s, die):
                found = next(inputs)
            yield found

    def _completed(self, tasks: list[SampleTask], inputs: Iterator[Inputs | Exception]) -> Iterator[SampleTask]:
        """Begin all samples, and yield finished ones in between, so that results are freed early."""
        begun: deque[SampleTask] = deque()
        for task in tasks:
            self._begin(task, self.leaving or next(inputs))
            begun.append(task)
            while begun and begun[0].done.is_set():
                yield begun.popleft()
        for task in begun:
            yield task.wait()

    def _begin(self, task: SampleTask, inputs: Inputs | Exception) -> None:
        """Start processing a sample that was read."""
        try:
            self._admit(task, inputs)
        except Exception as error:  # noqa: BLE001 - one sample must not affect the others
            self._end(task, "read", error)

    def new_hold(self) -> Hold:
        """Create the retry policy for a sink that accepts no writes."""
        return Hold(HELD_FRACTION * self.config.limits.stall_s, self._tell_hold)

    def _tell_hold(self, reason: str | None) -> None:
        self.roster.trouble(self.name, Trouble(reason, may_pass=True) if reason else None)

    def _note_batch(self, windows: int, seconds: float) -> None:
        self.steps += 1
        self.meter.add("windows", windows)
        self.meter.add("model_seconds", seconds)

    def _new_record(self, sample: Sample) -> Record:
        record = new_record(sample, self.config, self.reader, self.weights_fingerprint, self.run_id)
        record.worker = self.name
        return record

    def _admit(self, task: SampleTask, inputs: Inputs | Exception) -> None:
        """Reserve memory, then queue the sample for decoding."""
        if isinstance(inputs, Exception):
            raise inputs
        task.carried = inputs.carried
        header = open_checked(inputs.image, self.config.limits.max_pixels)
        needed_bytes = decoded_bytes(header, inputs.image, self.config)
        needed_bytes += header.width * header.height * open_kind(self.config.mask).bytes_per_pixel
        task.reserved_bytes = self.budget.reserve(needed_bytes)
        self.cpus.submit(Urgency.BEGIN, self._step("decode", self._decode, task, inputs, header))

    def _decode(self, task: SampleTask, inputs: Inputs, header: Image.Image) -> None:
        if self.leaving:
            raise self.leaving
        job = prepare(task.record, inputs, self.config, self.inpainter.window_px, header)
        if task.done.is_set():
            return  # it was abandoned meanwhile
        self._repaint(task, job)

    def _repaint(self, task: SampleTask, job: SampleJob) -> None:
        encode = self._step("encode", self._encode, task, job)
        self.loop.repaint(job).add_done_callback(lambda _: self.cpus.submit(Urgency.FINISH, encode))

    def _encode(self, task: SampleTask, job: SampleJob) -> None:
        if self.ladder and job.windows and job.record.error_stage is None:
            job, is_next_try = self.ladder.climb(job)
            if is_next_try:
                if not task.done.is_set():  # it may have been abandoned meanwhile
                    self._repaint(task, job)
                return
        elif self.ladder and job.best and not is_undone(job.record):
            job = self.ladder.recover(job)
        result = finish(job, self.config, self.signer) if job.record.error_stage is None else None
        if task.claim():
            task.result = result
            self._complete(task)

    def _step(self, stage: str, work: Callable[..., None], task: SampleTask, *given: object) -> Callable[[], None]:
        """Wrap a step of a sample so that an exception or a time-out ends this sample only."""

        def step() -> None:
            with self.watchdog.watching(self.config.limits.sample_s, partial(self._abandon, task, stage)):
                try:
                    work(task, *given)
                except Exception as error:  # noqa: BLE001 - one sample must not affect the others
                    self._end(task, stage, error)

        return step

    def _end(self, task: SampleTask, stage: str, error: Exception) -> None:
        if task.claim():
            fail(task.record, stage, error)
            self._complete(task)

    def _complete(self, task: SampleTask) -> None:
        self.budget.release(task.reserved_bytes)
        self.steps += not is_undone(task.record)
        task.complete()

    def _abandon(self, task: SampleTask, stage: str) -> None:
        """Fail a sample whose step timed out, and add a thread for the one that it blocks."""
        if not task.claim():
            return
        self._abandoned_count += 1
        if self._abandoned_count > MAX_ABANDONED:
            self._die_hung([task.record.sample_id])
        self.cpus.add_thread()
        task.record = replace(task.record)  # the step may still write into the other
        fail(task.record, stage, TimedOut(f"{stage} took longer than limits.sample_s={self.config.limits.sample_s:g}"))
        self._complete(task)

    def _watch_batch(self, records: Sequence[Record]) -> AbstractContextManager[None]:
        """Watch a call of the model; a call that hangs ends the process."""
        ids = sorted({record.sample_id for record in records})
        at_once = 1 if self.inpainter.device.type != "cpu" else max(1, len(records))
        die = partial(self._die_hung, ids if len(ids) == 1 else [])
        return self.watchdog.watching(self.config.limits.sample_s * at_once, die)

    def _die_hung(self, sample_ids: list[str]) -> None:
        self.roster.hang(sample_ids)
        os._exit(HUNG)


def _decoded_bytes(pool: Pool) -> int:
    """Return the memory budget of decoded photos: this worker's share of a fraction of the machine's memory."""
    return int(DECODED_FRACTION * 1e6 * memory_mb(torch.device("cpu")) / pool.room_on(own_node_resources()))
