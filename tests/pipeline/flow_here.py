"""The real job in this process: its stages called one after the other, with or without a model."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import pyarrow as pa
import pytest

import pipeline.cluster.supervision.supervisor
import pipeline.manifest.log
import pipeline.run
import pipeline.worker.worker
from pipeline.cluster.summary import Summary
from pipeline.config.job import JobConfig
from pipeline.executor.base import Executor, Workers
from pipeline.executor.local import LocalExecutor
from pipeline.faults.watchdog import Watchdog
from pipeline.metrics import Meter
from pipeline.run import run_job
from pipeline.signing.signer import open_signer
from pipeline.sinks.open_sink import open_sink
from pipeline.sources.reader import Reader
from pipeline.worker.actor import InpaintActor
from pipeline.worker.ladder import Ladder


class PlainActor(InpaintActor):
    """Fills holes by turning their colours around, without a model."""

    def __init__(self, config, weights_fingerprint, run_id, pool, roster):
        self.config, self.weights_fingerprint, self.run_id, self.name = config, weights_fingerprint, run_id, "here"
        self.reader, self.roster = Reader(config), roster
        self.sink, self.meter = open_sink(config, None, self.new_hold()), Meter(run_id)
        self.inpainter = type("Sizes", (), {"window_px": 64})
        self.signer = open_signer(config.sink.c2pa)
        self.ladder = Ladder.of_job(config, 64)
        self.budget = type("Endless", (), {"reserve": staticmethod(int), "release": staticmethod(int)})
        self.cpus = type("Here", (), {"submit": staticmethod(lambda urgency, work: work())})
        self.loop, self.watchdog = self, Watchdog()

    def repaint(self, job):
        for number in range(len(job.windows)):
            job.paste(number, 255 - job.cut(number, 64)[0])
        return self.done(job)

    @staticmethod
    def done(job):
        future = Future()
        future.set_result(job)
        return future


class Unheld:
    """A lease that nobody takes, so that tests see what holds without one."""

    def __init__(self, own_slice=None):
        self.slice = own_slice

    def check(self):
        pass

    def alone(self):
        return nullcontext(self if self.slice is None else Unheld())


HERE = LocalExecutor(PlainActor)


def run_here(
    config: JobConfig,
    run_id: str = "run",
    on_rows: Callable[[pa.Table, int], None] = lambda rows, total: None,
    executor: Executor = HERE,
) -> Summary:
    """Run a job in this process; by default without a model."""
    return run_job(config, run_id, on_rows, executor)


@dataclass(frozen=True)
class BeforeWork:
    """An executor that does something when the run has its plan and its workers are about to start.

    Args:
        action: what it does.
        executor: starts the workers.
    """

    action: Callable[[], object]
    executor: Executor = HERE

    @contextmanager
    def open(self, config: JobConfig, weights_fingerprint: str, run_id: str) -> Iterator[Workers]:
        self.action()
        with self.executor.open(config, weights_fingerprint, run_id) as workers:
            yield workers


def quicken(patch: pytest.MonkeyPatch, with_lease: bool = False) -> None:
    """Let jobs wait for nothing, with small parts and snapshots; without a lease, so that runs can be nested."""
    if not with_lease:
        patch.setattr(pipeline.run, "Lease", lambda storage, run_id, own_slice: nullcontext(Unheld(own_slice)))
    patch.setattr(pipeline.cluster.supervision.supervisor, "FIRST_COMMIT_S", 0.0)
    patch.setattr(pipeline.cluster.supervision.supervisor, "FIRST_WAIT_S", 0.01)
    patch.setattr(pipeline.worker.worker, "FIRST_PAUSE_S", 0.01)
    patch.setattr(pipeline.manifest.log, "SNAPSHOT_ROWS", 3)


@pytest.fixture
def here(monkeypatch):
    """Quick jobs in this process without a model, see :func:`run_here`."""
    quicken(monkeypatch)
    return monkeypatch


@pytest.fixture(scope="module")
def model_here():
    """Quick jobs with their model, for all tests of a file that ask for it."""
    with pytest.MonkeyPatch.context() as patch:
        quicken(patch, with_lease=True)
        yield patch
