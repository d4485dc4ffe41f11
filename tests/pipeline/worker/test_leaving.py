"""A worker that leaves finishes what is in the model, gives back the rest, and ends."""

import threading
import time

import pytest

from pipeline.records import OK, RETURNED
from pipeline.worker.actor import InpaintActor
from pipeline.worker.leaving import Departure
from pipeline.worker.worker import Worker
from tests.pipeline.worker.setup import AGAIN, FRESH, NAMES, Setup
from tests.pipeline.worker.test_actor import Echo, unit


class SlowEcho(Echo):
    """Tells when it is at work, and goes on when it is let."""

    batch_size = 1

    def __init__(self):
        self.begun, self.may_go_on = threading.Event(), threading.Event()

    def generate(self, pixels, masks, seeds):
        self.begun.set()
        assert self.may_go_on.wait(20)
        return super().generate(pixels, masks, seeds)


@pytest.fixture
def ended(monkeypatch):
    """Set when the process would end."""
    event = threading.Event()
    monkeypatch.setattr("pipeline.worker.leaving.DELIVERY_S", 0.05)
    monkeypatch.setattr(Departure.__init__, "__defaults__", (event.set,))
    return event


def slow_worker(job: Setup, this_pass) -> tuple[Worker, SlowEcho]:
    model = SlowEcho()
    engine = type("SlowActor", (InpaintActor,), {"load_model": lambda self, weights: model})
    return job.worker(this_pass, engine), model


def answer_of(worker: Worker, *names: str) -> tuple[threading.Thread, list]:
    found: list = []
    thread = threading.Thread(target=lambda: found.extend(worker(unit(*names)).to_pylist()))
    thread.start()
    return thread, found


@pytest.mark.parametrize("this_pass", [FRESH, AGAIN])
def test_batch_in_the_model_is_finished_and_the_rest_given_back_without_blame(job, ended, this_pass):
    worker, model = slow_worker(job, this_pass)
    thread, rows = answer_of(worker, *NAMES)
    assert model.begun.wait(20)
    worker._departure.begin()
    while not worker._engine.leaving:
        time.sleep(0.01)
    assert not ended.is_set()
    model.may_go_on.set()
    thread.join(20)
    statuses = {row["sample_id"]: row["status"] for row in rows}
    done = [name for name, status in statuses.items() if status == OK]
    assert len(done) == 1 and set(statuses.values()) == {OK, RETURNED} and len(statuses) == 6
    assert ended.wait(5)
    assert job.troubles == [] and job.roster.read().leaving == {worker.name}
    assert {path.name for path in (job.folder / "out" / "data").iterdir()} == set(done)


def test_unit_that_comes_too_late_is_never_begun(job, ended):
    worker, _ = slow_worker(job, FRESH)
    worker._departure.begin()
    assert ended.wait(5)
    thread, rows = answer_of(worker, *NAMES)
    thread.join(0.3)
    assert thread.is_alive() and rows == [] and job.roster.read().units_begun == 0
    worker._departure.has_begun = False  # lets the thread end
    with worker._departure._changed:
        worker._departure._changed.notify_all()
    worker._engine.inpainter.may_go_on.set()
    thread.join(20)


def test_notice_of_the_node_makes_the_worker_leave(job, ended, monkeypatch):
    monkeypatch.setattr("pipeline.worker.worker.SIGN_OF_LIFE_S", 0.05)
    notice = threading.Event()
    worker = job.worker(must_leave=notice.is_set)
    time.sleep(0.2)
    assert not worker._departure.has_begun
    notice.set()
    assert ended.wait(5)


def test_windows_behind_the_refused_ones_do_not_wait(job, ended):
    worker, model = slow_worker(job, FRESH)
    worker._engine.leave()
    model.may_go_on.set()
    rows = worker(unit(*NAMES)).to_pylist()
    assert {row["status"] for row in rows} == {RETURNED} and not model.begun.is_set()
    assert {row["output_uri"] for row in rows} == {None}
