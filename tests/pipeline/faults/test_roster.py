"""The roster of a job's workers outlives its process."""

import os
import signal
import time

import pytest
import ray

import pipeline.faults.roster
from pipeline.errors import ExecutorError
from pipeline.faults.roster import Roster, Seat, open_roster


def test_roster_comes_back_empty_and_tells_that_it_was_gone(ray_cluster):
    with open_roster() as roster:
        assert roster.new_pass() == 1
    with pytest.raises(ExecutorError, match="the roster does not answer"):
        roster.begin("worker", "sample")  # it has ended with the block and roster.new_pass() == 2
        pid = ray.get(roster._actor.__ray_call__.remote(lambda _: os.getpid()))
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while roster.read().number == 2 or roster.read().number == -1:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert roster.read().number == 0  # of no pass, so that nothing is concluded from it
        assert roster.new_pass() == 1


def test_worker_that_sleeps_is_not_alive_until_it_wakes_and_the_others_are(monkeypatch):
    monkeypatch.setattr(pipeline.faults.roster, "ALIVE_S", 0.2)
    roster = Roster()
    for worker in ("sleeper", "other"):
        roster.start(worker, Seat.here())
    time.sleep(0.3)
    roster.live("other")
    assert roster.read().alive == {"other"} and roster.read().silence_s < 0.2
    roster.live("sleeper")
    assert roster.read().alive == {"sleeper", "other"}
