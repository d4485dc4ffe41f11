"""The real job in this process: its stages called one after the other, without Ray, with or without a model."""

from concurrent.futures import Future
from contextlib import nullcontext
from functools import partial

import pyarrow as pa
import pytest

import pipeline.manifest.log
import pipeline.run
from pipeline.faults.roster import Roster
from pipeline.faults.watchdog import Watchdog
from pipeline.metrics import Meter
from pipeline.sinks.base import open_sink
from pipeline.sources.reader import Reader
from pipeline.worker.actor import InpaintActor
from pipeline.worker.worker import Worker


class PlainActor(InpaintActor):
    """Fills holes by turning their colours around, without a model."""

    def __init__(self, config, weights_fingerprint, run_id, pool, roster):
        self.config, self.weights_fingerprint, self.run_id, self.name = config, weights_fingerprint, run_id, "here"
        self.reader, self.roster = Reader(config), roster
        self.sink, self.meter = open_sink(config, None, self.new_hold()), Meter(run_id)
        self.inpainter = type("Sizes", (), {"window_px": 64})
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

    def check(self):
        pass


def flow_here(stand_in, config, weights, run_id, pool, worker, roster, units, this_pass):
    actor = Worker(stand_in or worker, (config, weights.fingerprint, run_id, pool), this_pass, roster)
    for unit in range(len(units)):
        yield actor(pa.table({"samples": units.slice(unit, 1)}))


def before_work(patch, action):
    """Do something once, when the run has its plan and its workers are about to start."""
    flow = pipeline.run._start_pass

    def act_and_start(*arguments):
        patch.setattr(pipeline.run, "_start_pass", flow)
        action()
        return flow(*arguments)

    patch.setattr(pipeline.run, "_start_pass", act_and_start)


def leave_out_ray(patch, stand_in=PlainActor):
    """Let jobs run in this process, with small units, parts and snapshots; with ``None`` on the job's own worker."""
    patch.setattr(pipeline.run, "connected", lambda address, block_bytes: nullcontext())
    patch.setattr(pipeline.run, "open_roster", lambda: nullcontext(Roster()))
    patch.setattr(pipeline.run, "node_resources", lambda: [{"CPU": 4}])
    patch.setattr(pipeline.run, "_start_pass", partial(flow_here, stand_in))
    if stand_in:  # which stores whoever holds the sink, so that runs can be nested; a job's own worker needs the lease
        patch.setattr(pipeline.run, "Lease", lambda storage, run_id: nullcontext(Unheld()))
    patch.setattr(pipeline.cluster.supervisor, "FIRST_COMMIT_S", 0.0)
    patch.setattr(pipeline.cluster.supervisor, "FIRST_WAIT_S", 0.01)
    patch.setattr(pipeline.worker.worker, "FIRST_PAUSE_S", 0.01)
    patch.setattr(pipeline.manifest.log, "SNAPSHOT_ROWS", 3)


@pytest.fixture
def here(monkeypatch):
    """The job without Ray and without a model."""
    leave_out_ray(monkeypatch)
    return monkeypatch


@pytest.fixture(scope="module")
def model_here():
    """The job with its model and without Ray, for all tests of a file that ask for it."""
    with pytest.MonkeyPatch.context() as patch:
        leave_out_ray(patch, stand_in=None)
        yield patch
