"""The real job in this process: its stages called one after the other, without Ray and without a model."""

from concurrent.futures import Future
from contextlib import nullcontext

import pyarrow as pa
import pytest

import pipeline.manifest
import pipeline.run
from pipeline.gpu_actor import InpaintActor
from pipeline.metrics import Meter
from pipeline.reader import Reader
from pipeline.sinks import open_sink


class PlainActor(InpaintActor):
    """Fills holes by turning their colours around, without a model."""

    def __init__(self, config, weights_fingerprint, run_id, give_back):
        self.config, self.weights_fingerprint, self.run_id, self.name = config, weights_fingerprint, run_id, "here"
        self.reader, self.give_back = Reader(config), give_back
        self.sink, self.meter = open_sink(config), Meter(run_id)
        self.inpainter = type("Sizes", (), {"window_px": 64})
        self.budget = type("Endless", (), {"take": staticmethod(int), "give_back": staticmethod(int)})
        self.cpus = type("Here", (), {"submit": staticmethod(lambda urgency, work: work())})
        self.loop = self

    def repaint(self, job):
        for number in range(len(job.windows)):
            job.paste(number, 255 - job.cut(number, 64)[0])
        return self.done(job)

    @staticmethod
    def done(job):
        future = Future()
        future.set_result(job)
        return future


def flow_here(config, weights, run_id, pool, worker, units, this_pass):
    actor = PlainActor(config, weights.fingerprint, run_id, this_pass.give_back)
    for unit in range(len(units)):
        yield actor(pa.table({"samples": units.slice(unit, 1)}))


def leave_out_ray(patch):
    """Let jobs run in this process, with small units, parts and snapshots."""
    patch.setattr(pipeline.run, "connected", lambda address, block_bytes: nullcontext())
    patch.setattr(pipeline.run, "node_resources", lambda: [{"CPU": 4}])
    patch.setattr(pipeline.run, "_start_pass", flow_here)
    patch.setattr(pipeline.run, "Lease", lambda storage, run_id: nullcontext())
    patch.setattr(pipeline.supervisor, "FIRST_COMMIT_S", 0.0)
    patch.setattr(pipeline.manifest, "SNAPSHOT_ROWS", 3)


@pytest.fixture
def here(monkeypatch):
    """The job without Ray."""
    leave_out_ray(monkeypatch)
    return monkeypatch
