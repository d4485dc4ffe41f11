"""The roster of a job's workers outlives its process."""

import os
import signal
import time

import pytest
import ray

from pipeline.errors import ExecutorError
from pipeline.faults.roster import open_roster


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
