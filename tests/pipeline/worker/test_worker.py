"""The worker without Ray: whom it blames, how it proves that it works, and what it reports."""

import errno
import threading
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from pipeline.config.job import LimitsConfig
from pipeline.errors import ExecutorError, SampleError
from pipeline.faults.passes import History, Pass
from pipeline.records import DEFERRED, FAILED, HELD, OK
from pipeline.storage.backends.local import LocalBackend
from pipeline.storage.storage import Storage
from pipeline.worker.actor import InpaintActor
from pipeline.worker.worker import Worker
from tests.pipeline.worker.setup import AGAIN, ALONE, FRESH, GOOD, NAMES
from tests.pipeline.worker.test_actor import Echo, EchoActor, unit


def statuses(worker: Worker, *names: str) -> list[str]:
    return [row["status"] for row in rows(worker, *(names or NAMES))]


def rows(worker: Worker, *names: str) -> list[dict]:
    worker.roster._units.clear()  # as if it were another unit each time
    return worker(unit(*names)).to_pylist()


def test_unit_that_killed_a_worker_is_not_begun_again_unless_its_sample_is_alone(job):
    worker = job.worker()
    assert worker(unit(*NAMES)).num_rows == 6
    assert worker(unit(*NAMES)).num_rows == 0  # as Ray would have it, for ever
    alone = job.worker(ALONE)
    assert [alone(unit("003.png")).num_rows for _ in range(3)] == [1, 1, 0]


def test_unit_is_deferred_while_the_roster_does_not_answer(job):
    def silent(sample_id):
        raise ExecutorError("the roster does not answer")

    worker = job.worker()
    job.roster.begin_unit = silent
    assert {(row["status"], row["error_message"]) for row in rows(worker, *NAMES)} == {
        (DEFERRED, "the roster does not answer")
    }
    assert job.troubles == []  # which is no fault of the worker


def test_missing_file_is_deferred_and_fails_once_the_worker_has_proven_to_read_others(job):
    job.lose("003.png")
    assert statuses(job.worker()) == [OK, OK, OK, DEFERRED, OK, OK]
    (row,) = rows(job.worker(AGAIN), "003.png")
    assert (row["status"], row["error_type"]) == (FAILED, "FileNotFound")
    assert job.troubles == []


def test_worker_that_reads_nothing_blames_no_sample_even_when_it_may(job):
    job.lose(*NAMES)
    worker = job.worker(AGAIN)
    assert statuses(worker, *NAMES[2:]) == [DEFERRED] * 4
    (trouble,) = job.troubles
    assert "FileNotFound" in trouble.reason and trouble.may_pass


def test_known_good_sample_that_is_gone_leaves_it_to_the_next_one(job):
    job.lose("000.png", "003.png")
    assert statuses(job.worker(AGAIN), "003.png") == [FAILED]


def test_without_a_known_good_sample_a_missing_file_is_not_blamed(job):
    job.lose("003.png")
    assert statuses(job.worker(Pass(History.DEFERRED)), "003.png") == [DEFERRED]


def test_known_good_samples_leave_nothing_in_the_sink(job):
    job.lose("003.png")
    statuses(job.worker(AGAIN), "003.png")
    files = {path.name for path in (job.folder / "out").rglob("*") if path.is_file()}
    assert files == {".lease.json", ".epoch"}  # of this run


def test_photo_that_is_broken_fails_at_once(job):
    (job.folder / "photos" / "002.png").write_bytes(b"no photo")
    assert statuses(job.worker()) == [OK, OK, FAILED, OK, OK, OK]


class NotFinite(Echo):
    """Fails for windows of some brightness, or for all."""

    def __init__(self, everything=False):
        self.everything = everything

    def generate(self, pixels, masks, seeds):
        if self.everything or any(window.min() == window.max() for window in pixels):
            raise FloatingPointError("the model produced NaN")
        return super().generate(pixels, masks, seeds)


@pytest.mark.parametrize("known_good", [GOOD, ()])
def test_sample_that_the_model_cannot_do_fails_and_a_model_that_can_do_none_blames_none(job, known_good):
    from PIL import Image

    Image.fromarray(np.full((80, 96, 3), 7, np.uint8)).save(job.folder / "photos" / "004.png")

    class Engine(InpaintActor):
        everything = False

        def load_model(self, weights):
            return NotFinite(self.everything)

    class Broken(Engine):
        everything = True

    again = replace(AGAIN, known_good=known_good)
    assert statuses(job.worker(FRESH, Engine), "003.png", "004.png") == [OK, DEFERRED]
    assert statuses(job.worker(again, Engine), "004.png") == [FAILED]
    assert job.troubles == []
    assert statuses(job.worker(again, Broken), "004.png", "005.png") == [DEFERRED] * 2
    (trouble,) = job.troubles
    assert trouble == ("FloatingPointError: the model produced NaN", False)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_sink_that_takes_nothing_is_never_a_samples_fault(job, monkeypatch, number):
    real = LocalBackend._stage

    def refuse(backend, key, content):
        if key.startswith("data/"):  # what proves the worker is small and still fits
            raise OSError(number, "takes nothing")
        return real(backend, key, content)

    monkeypatch.setattr(LocalBackend, "_stage", refuse)
    assert statuses(job.worker()) == [HELD] * 6
    assert statuses(job.worker(AGAIN), "003.png") == [HELD]


def test_worker_whose_engine_cannot_be_built_says_why_and_tries_again(job):
    built = []

    class Engine(EchoActor):
        def __init__(self, *arguments):
            built.append(time.monotonic())
            if len(built) < 3:
                raise RuntimeError("no such device")
            super().__init__(*arguments)

    worker = job.worker(FRESH, Engine)
    assert job.troubles == [("RuntimeError: no such device", False)]
    (row, *_) = rows(worker, *NAMES)
    assert (row["status"], row["error_type"], row["error_message"]) == (DEFERRED, "RuntimeError", "no such device")
    assert statuses(worker) == [OK] * 6
    assert job.troubles == []
    assert built[1] - built[0] >= 0.2 and built[2] - built[1] >= 0.4


def test_engine_that_raises_at_every_call_is_a_fault_of_the_worker(job):
    class Engine(EchoActor):
        def run(self, samples, sink=None):
            raise KeyError("spam")

    worker = job.worker(AGAIN, Engine)
    for _ in range(2):
        assert statuses(worker) == [DEFERRED] * 6
    assert job.troubles == [("KeyError: 'spam'", False)]


def test_worker_without_network_pauses_and_then_tries_one_sample_before_the_others(job, monkeypatch):
    reads, real = [], Storage.read

    def silent(storage, key="", *more):
        reads.append(key)
        if silent.ends:
            return real(storage, key, *more)
        raise OSError("no answer")

    silent.ends = False
    monkeypatch.setattr(Storage, "read", silent)
    worker = job.worker()
    assert statuses(worker) == [DEFERRED] * 6
    assert len(set(reads)) == 6 and job.troubles == []
    reads.clear()
    assert statuses(worker) == [DEFERRED] * 6
    assert set(reads) == {"000.png"} and job.troubles == [("OSError: no answer", True)]
    silent.ends, started = True, time.monotonic()
    assert statuses(worker) == [OK] * 6
    assert time.monotonic() - started >= 0.2 and job.troubles == []


def test_sample_alone_is_noted_after_the_worker_has_proven_to_work_and_before_it_is_begun(job):
    begun = []

    class Engine(EchoActor):
        def run(self, samples, sink=None):
            begun.append(([sample["sample_id"] for sample in samples], dict(self.roster.read().begun)))
            return super().run(samples, sink)

    worker = job.worker(ALONE, Engine)
    assert statuses(worker, "003.png") == [OK]
    assert statuses(worker, "004.png") == [OK]
    assert begun == [
        (["000.png"], {}),
        (["003.png"], {"003.png": 1}),
        (["004.png"], {"003.png": 1, "004.png": 1}),  # the sample before was proof enough
    ]
    assert job.roster.read().proven == {worker.name}


def test_sample_alone_with_a_worker_that_does_not_work_is_not_begun(job):
    job.lose("000.png", "001.png")
    assert statuses(job.worker(replace(ALONE, known_good=GOOD)), "003.png") == [DEFERRED]
    assert job.roster.read().begun == {}


@pytest.mark.parametrize("stage", ["_decode", "_encode"])
def test_step_without_end_fails_its_sample_alone(job, stage):
    job.limits, forever = LimitsConfig(sample_s=0.5, stall_s=1.0), threading.Event()

    def hang(real, engine, task, *given):
        if task.record.sample_id == "002.png":
            forever.wait()
        real(engine, task, *given)

    class Engine(EchoActor):
        pass

    setattr(Engine, stage, lambda *arguments: partial(hang, getattr(EchoActor, stage))(*arguments))
    try:
        assert statuses(job.worker(FRESH, Engine)) == [OK, OK, DEFERRED, OK, OK, OK]
        (row,) = rows(job.worker(AGAIN, Engine), "002.png")
    finally:
        forever.set()
    assert (row["status"], row["error_type"]) == (FAILED, "TimedOut")
    assert "took longer than limits.sample_s=0.5" in row["error_message"]


def test_suspect_worker_blames_no_sample_for_the_hang_of_another(job):
    job.limits, forever = LimitsConfig(sample_s=0.3, stall_s=1.0), threading.Event()

    class Engine(EchoActor):
        def _decode(self, task, *given):
            if task.record.sample_id == "002.png":
                forever.wait()
            super()._decode(task, *given)

    worker = job.worker(AGAIN, Engine)
    worker._failed_units = 1
    try:
        assert statuses(worker, "002.png", "003.png", "004.png") == [FAILED, OK, OK]
    finally:
        forever.set()


def test_error_of_our_own_code_in_one_sample_fails_that_sample(job):
    class Engine(EchoActor):
        def _decode(self, task, *given):
            if task.record.sample_id == "002.png":
                raise ZeroDivisionError("by zero")
            super()._decode(task, *given)

    assert statuses(job.worker(FRESH, Engine)) == [OK, OK, DEFERRED, OK, OK, OK]
    (row,) = rows(job.worker(AGAIN, Engine), "002.png")
    assert (row["status"], row["error_stage"], row["error_type"]) == (FAILED, "decode", "ZeroDivisionError")


def test_verdict_of_a_stage_is_final_where_it_is_about_the_sample(job):
    class Engine(EchoActor):
        def _decode(self, task, *given):
            raise SampleError("decode", "Odd", "an odd photo")

    assert statuses(job.worker(FRESH, Engine)) == [FAILED] * 6
