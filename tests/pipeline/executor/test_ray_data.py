"""Errors of a pass and causes of death of workers, as the Ray executor reports them."""

import logging

import pyarrow as pa
import pytest
from ray.exceptions import RayActorError

from pipeline.config.job import JobConfig
from pipeline.errors import ExecutorError
from pipeline.executor.ray_data import RayWorkers, _deaths_noted
from pipeline.faults.passes import Pass
from pipeline.faults.roster import Roster
from pipeline.worker.actor import InpaintActor
from pipeline.worker.pool import Pool


class BrokenWorkers(RayWorkers):
    def _flow(self, *_):
        raise RayActorError(error_msg="first line\nthe cause")


def test_error_of_a_whole_pass_is_one_of_the_executor_and_says_the_cause():
    workers = BrokenWorkers(InpaintActor, JobConfig(), "weights", "run", Pool(1, 0, 1, 1), Roster())
    with pytest.raises(ExecutorError, match=r"^the cause$"):
        list(workers.run_pass(pa.array([[]]), Pass()))


def test_cause_of_death_that_ray_only_logs_is_in_the_roster_until_the_next_pass():
    roster, ray_data = Roster(), logging.getLogger("ray.data")
    with _deaths_noted(roster):
        ray_data.error("a task failed", exc_info=ValueError("of our own code"))
        assert roster.read().death is None
        ray_data.error("a task failed", exc_info=RayActorError(error_msg="worker died\nout of memory"))
    ray_data.error("a task failed", exc_info=RayActorError(error_msg="later"))
    assert roster.read().death == "out of memory"
    roster.new_pass()
    assert roster.read().death is None
