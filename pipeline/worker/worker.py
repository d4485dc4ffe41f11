"""The worker that Ray Data calls: it never raises; errors become rows and roster entries."""

import contextlib
import faulthandler
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import RayError

from pipeline.errors import ExecutorError
from pipeline.faults.judge import MEMORY_ERRORS, confirm, fail, is_undone, may_pass
from pipeline.faults.passes import Pass
from pipeline.faults.roster import RosterClient, Seat, Trouble, worker_name
from pipeline.faults.sink_holder import SinkTakenOver
from pipeline.faults.watchdog import SIGN_OF_LIFE_S, Watchdog
from pipeline.records import DEFERRED, FAILED, HELD, RETURNED, Record, to_table
from pipeline.sources.inputs import Sample
from pipeline.worker.actor import InpaintActor
from pipeline.worker.known_good import Proof, prove
from pipeline.worker.leaving import Departure
from pipeline.worker.units import samples_of

FIRST_PAUSE_S, MAX_PAUSE_S = 5.0, 60.0
STORAGE_STAGES = ("read", "mask", "write")  # no fault of a mask's content is ever deferred
STUCK_S = 900.0  # without a turn for any Python thread: something holds the interpreter's lock forever


class Worker:
    """Processes units of samples on an engine, which it creates, and creates again after a failure.

    A unit without any success makes the worker suspect: it pauses before the next unit, with exponential backoff, and
    tries one sample before the others, so that it takes little work from healthy workers.

    When it must leave, or its process receives SIGTERM, it gives back what is not in the model yet, and ends.

    Args:
        engine: creates the object that hosts the model.
        arguments: of the engine, except the roster.
        this_pass: what the samples have been through.
        roster: where the worker reports.
        must_leave: tells whether the node is about to go.
    """

    def __init__(
        self,
        engine: Callable[..., InpaintActor],
        arguments: Sequence[Any],
        this_pass: Pass,
        roster: RosterClient,
        must_leave: Callable[[], bool] = lambda: False,
    ) -> None:
        self.name, self.this_pass, self.roster = worker_name(), this_pass, roster
        self._new_engine: Callable[[], InpaintActor] = lambda: engine(*arguments, roster)
        self._engine: InpaintActor | None = None
        self._lock = threading.Lock()
        self._failed_units, self._resume_at, self._is_proven = 0, 0.0, False
        self._is_alone = ray.is_initialized() and ray.get_runtime_context().get_actor_id() is not None
        self._must_leave, self._departure = must_leave, Departure(self._give_back)
        if self._is_alone and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, lambda *_: self._departure.begin())
        roster.start(self.name, Seat.here())
        self._alive = Watchdog(self._show_life, SIGN_OF_LIFE_S)
        try:
            self._ready()
        except Exception as error:  # noqa: BLE001 - the next unit tries again, and its rows say why
            self._note_failure(_text(error), may_pass(error), is_certain=True)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Process units, lists of ``SAMPLE_SCHEMA`` in a column ``samples``; rows may be deferred or held."""
        samples = samples_of(batch)
        time.sleep(max(0.0, self._resume_at - time.monotonic()))
        with self._departure.call():
            return self._process(samples)

    def _process(self, samples: Sequence[Sample]) -> pa.Table:
        try:
            if self.roster.begin_unit(samples[0]["sample_id"]) > self.this_pass.tries:
                return to_table([])  # like those of a unit that never came back
            return to_table(self._do(self._ready(), samples))
        except ExecutorError as error:  # the roster does not answer: what it noted last is not known
            fault = fail(Record("", FAILED), "inpaint", error)
            return to_table([self._undone(sample, fault) for sample in samples])
        except Exception as error:  # noqa: BLE001 - the engine cannot be built, or is at fault itself
            self._note_failure(_text(error), may_pass(error))
            return to_table([self._undone(sample, fail(Record("", FAILED), "inpaint", error)) for sample in samples])

    def _ready(self) -> InpaintActor:
        with self._lock:
            if self._engine is None:
                self._engine = self._new_engine()
            return self._engine

    def _do(self, engine: InpaintActor, samples: Sequence[Sample]) -> list[Record]:
        records = (self._try_proven if self.this_pass.confirms else self._try)(engine, samples)
        self._judge_itself(records)
        return records

    def _try(self, engine: InpaintActor, samples: Sequence[Sample]) -> list[Record]:
        """Process fresh samples; a suspect worker tries one first, and the others only if it succeeds."""
        first = engine.run(samples[:1]) if self._failed_units else []
        if first and is_undone(first[0]):
            return [*first, *(self._undone(sample, first[0]) for sample in samples[1:])]
        return [*first, *engine.run(samples[len(first) :])]

    def _try_proven(self, engine: InpaintActor, samples: Sequence[Sample]) -> list[Record]:
        """Retry samples, and fail those that fail again between two successful tests of the worker."""
        is_suspect = self._failed_units or (self.this_pass.isolated and not self._is_proven)
        if is_suspect and (fault := self._prove(engine).fault):
            return [self._undone(sample, fault) for sample in samples]
        if self.this_pass.isolated:
            self.roster.begin(self.name, samples[0]["sample_id"])
        records = engine.run(samples)
        undone = [index for index, record in enumerate(records) if is_undone(record)]
        if not undone or self._prove(engine).fault:
            return records
        for index, record in zip(undone, engine.run([samples[index] for index in undone]), strict=True):
            records[index] = record
        proof = self._prove(engine)
        for index in undone:
            if not proof.fault and (proof.with_storage or records[index].error_stage not in STORAGE_STAGES):
                confirm(records[index])
        return records

    def _judge_itself(self, records: Sequence[Record]) -> None:
        """Update this worker's health from the rows of a unit."""
        undone = [record for record in records if is_undone(record)]
        held = [record for record in undone if record.status == HELD]
        if len(undone) < len(records):
            self._note_success()
        elif held:
            self._note_failure(_fault(held[0]), _may_pass(held[0]), is_certain=True)
        elif not self.this_pass.confirms:  # else the proofs have said it
            self._note_failure(_fault(undone[0]), _may_pass(undone[0]))

    def _prove(self, engine: InpaintActor) -> Proof:
        proof = prove(engine, self.this_pass.known_good)
        if proof.fault:
            self._note_failure(_fault(proof.fault), _may_pass(proof.fault), is_certain=True)
        else:
            self._note_success()
        return proof

    def _undone(self, sample: Sample, fault: Record) -> Record:
        """Return the row of a sample that was not tried because another one failed."""
        status = fault.status if fault.status == RETURNED else DEFERRED
        return replace(fault, sample_id=sample["sample_id"], status=status, worker=self.name)

    def _note_failure(self, reason: str, passes: bool, is_certain: bool = False) -> None:
        """Pause and report after two failed units, or at once if the fault is certainly not a sample's."""
        self._is_proven = False
        if time.monotonic() < self._resume_at or self._departure.has_begun:
            return  # another thread has met the same at the same time, or this is no failure
        self._failed_units += 1 + (is_certain and not self._failed_units)
        if self._failed_units > 1:
            self.roster.trouble(self.name, Trouble(reason, passes))
            pause_s = min(FIRST_PAUSE_S * 2 ** (self._failed_units - 2), MAX_PAUSE_S)
            self._resume_at = time.monotonic() + pause_s

    def _note_success(self) -> None:
        if self._failed_units > 1:
            self.roster.trouble(self.name, None)
        self._failed_units, self._resume_at, self._is_proven = 0, 0.0, True

    def _give_back(self) -> None:
        with contextlib.suppress(RayError):
            self.roster.leave(self.name)
        if self._engine:
            self._engine.leave()

    def _show_life(self) -> None:
        with contextlib.suppress(RayError):
            self.roster.live(self.name, self._engine.steps if self._engine else 0)
            if self._must_leave():
                self._departure.begin()
        if self._is_alone:
            faulthandler.dump_traceback_later(STUCK_S, exit=True)  # strikes without the interpreter's lock


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _may_pass(record: Record) -> bool:
    if record.error_type == SinkTakenOver.__name__:
        return False  # as long as the driver holds the sink, the node looks at another folder
    return record.error_stage in STORAGE_STAGES or record.error_type in MEMORY_ERRORS


def _fault(record: Record) -> str:
    return f"{record.error_type}: {record.error_message}"
