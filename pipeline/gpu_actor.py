"""The worker that hosts the model: reads and decodes ahead of it, encodes and writes behind it, so it never waits."""

import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import torch
from PIL import Image

from moebius import Inpainter
from moebius.hardware import memory_mb
from moebius.weights import Weights
from pipeline.allocator import keep_freed_memory
from pipeline.budget import ByteBudget
from pipeline.cluster import Pool
from pipeline.codec import open_checked
from pipeline.config import JobConfig
from pipeline.cpu_pool import CpuPool, Urgency
from pipeline.inputs import Inputs, Sample
from pipeline.metrics import Meter
from pipeline.model_loop import ModelLoop
from pipeline.reader import Reader
from pipeline.records import LEFT, Record, to_table
from pipeline.sample_job import SampleJob, decoded_bytes, finish, give_up, new_record, prepare
from pipeline.sinks import Outcome, open_sink
from pipeline.timed import Timed
from pipeline.weight_store import fetch_weights

DECODED_FRACTION = 0.3  # of a machine's memory
BATCHES_BESIDE = 3  # those in the model are decoded: one is being cut, one waits, one is being pasted
UNREACHABLE_PAUSE_S = 5.0  # so that a worker without network does not take all units from the others


@dataclass
class Flight(Outcome):
    """A sample on its way through a worker, and what it holds."""

    taken_bytes: int = 0
    landed: threading.Event = field(default_factory=threading.Event)

    def land(self, _: object = None) -> None:
        """It is at its end."""
        self.landed.set()

    def wait(self) -> "Flight":
        """Until it is at its end."""
        self.landed.wait()
        return self


class InpaintActor:
    """Turns units of samples into manifest rows, and stores their results.

    Ray calls it from several threads at once: one unit is decoded while another is in the model.

    Args:
        config: the job.
        weights_fingerprint: of the weights that the plan was made for.
        run_id: name of this run.
        pool: what this worker may use.
        give_back: leave a sample to a later pass, rather than fail it, when the storage does not answer.

    Raises:
        RuntimeError: this node finds other weights under the same name.
    """

    def __init__(self, config: JobConfig, weights_fingerprint: str, run_id: str, pool: Pool, give_back: bool) -> None:
        keep_freed_memory()
        weights = fetch_weights(config.model.weights, config.storage)
        if weights.fingerprint != weights_fingerprint:
            raise RuntimeError(
                f"{config.model.weights} is {weights.fingerprint} on {socket.gethostname()}, but the job was planned "
                f"with {weights_fingerprint}"
            )
        self.config, self.run_id, self.give_back = config, run_id, give_back
        self.reader = Reader(config)
        self.sink = open_sink(config, run_id)
        self.weights_fingerprint = weights_fingerprint
        self.inpainter = self.load_model(weights)
        self.meter = Meter(run_id)
        self.loop = ModelLoop(self.inpainter, pool.threads, self._note_batch)
        self.cpus = CpuPool(pool.threads)
        batches = self.loop.runners + BATCHES_BESIDE
        self.budget = ByteBudget(_decoded_bytes(pool), pool.threads + batches * self.inpainter.batch_size)
        self.meter.watch(
            bytes_in_flight=lambda: self.budget.taken_bytes, windows_waiting=lambda: self.loop.windows_waiting
        )
        self.name = f"{socket.gethostname()}/{os.getpid()}"

    def load_model(self, weights: Weights) -> Inpainter:
        """The model on this worker's device; benchmarks and drills put another in its place."""
        return Inpainter(*weights.load(), settings=self.config.inpaint_settings)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Units, as lists of ``SAMPLE_SCHEMA`` in a column ``samples`` → manifest rows of samples that are stored.

        A sample goes from this thread, which reads, to one that decodes, to the model, to one that encodes; this thread
        writes the results. Every further change of threads costs about as much as a small photo.
        """
        started = time.perf_counter()
        samples = batch["samples"].combine_chunks().flatten().to_pylist()
        flights = [Flight(self._new_record(sample)) for sample in samples]
        inputs = Timed(self.reader.read_all(samples))
        write_s = self.sink.store(self._landing(flights, inputs), self.give_back)
        records = [flight.record for flight in flights]
        self.meter.count_stages(records, inputs.spent_s, write_s)
        self.meter.add("read_bytes", sum(sample["size_bytes"] for sample in samples))
        self.meter.observe("unit_seconds", time.perf_counter() - started)
        if all(record.status == LEFT for record in records):
            time.sleep(UNREACHABLE_PAUSE_S)
        return to_table(records)

    def _landing(self, flights: list[Flight], inputs: Iterator[Inputs | Exception]) -> Iterator[Flight]:
        """Begin all samples, and hand over those at their end in between, so that results leave the memory."""
        begun: deque[Flight] = deque()
        for flight, found in zip(flights, inputs, strict=True):
            self.begin(flight, found)
            begun.append(flight)
            while begun and begun[0].landed.is_set():
                yield begun.popleft()
        for flight in begun:
            yield flight.wait()

    def begin(self, flight: Flight, inputs: Inputs | Exception) -> None:
        """Send a sample that was read on its way to its end."""
        self._guarded("read", self._take_place, flight, inputs)()

    def _note_batch(self, windows: int, seconds: float) -> None:
        self.meter.add("windows", windows)
        self.meter.add("model_seconds", seconds)

    def _new_record(self, sample: Sample) -> Record:
        record = new_record(sample, self.config, self.reader, self.weights_fingerprint, self.run_id)
        record.worker = self.name
        return record

    def _guarded(self, stage: str, work: Callable[..., None], flight: Flight, *given: object) -> Callable[[], None]:
        """A step of a sample's way; whatever it raises ends that sample alone."""

        def step() -> None:
            try:
                work(flight, *given)
            except Exception as error:  # noqa: BLE001 - whatever one sample does, the others go on
                give_up(flight.record, stage, error, self.give_back)
                self._land(flight)

        return step

    def _take_place(self, flight: Flight, inputs: Inputs | Exception) -> None:
        if isinstance(inputs, Exception):
            raise inputs
        flight.carried = inputs.carried
        header = open_checked(inputs.image, self.config.limits.max_pixels)
        flight.taken_bytes = self.budget.take(decoded_bytes(header, inputs.image))
        self.cpus.submit(Urgency.BEGIN, self._guarded("decode", self._decode, flight, inputs, header))

    def _decode(self, flight: Flight, inputs: Inputs, header: Image.Image) -> None:
        job = prepare(flight.record, inputs, self.config, self.inpainter.window_px, header)
        encode = self._guarded("encode", self._encode, flight, job)
        self.loop.repaint(job).add_done_callback(lambda _: self.cpus.submit(Urgency.FINISH, encode))

    def _encode(self, flight: Flight, job: SampleJob) -> None:
        if flight.record.error_stage is None:
            flight.result = finish(job, self.config)
        self._land(flight)

    def _land(self, flight: Flight) -> None:
        self.budget.give_back(flight.taken_bytes)
        flight.land()


def _decoded_bytes(pool: Pool) -> int:
    """What the photos inside this worker may take: its share of a part of this machine's memory."""
    return int(DECODED_FRACTION * 1e6 * memory_mb(torch.device("cpu")) / pool.a_node)
