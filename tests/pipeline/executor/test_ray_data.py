"""Errors of a pass and causes of death of workers, as the Ray executor reports them."""

import logging
import os
import signal
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
import ray.cloudpickle
from ray.exceptions import RayActorError
from ray.util.annotations import RayDeprecationWarning

from pipeline.config.job import JobConfig, SinkConfig
from pipeline.errors import ExecutorError
from pipeline.executor.ray_data import RayWorkers, _deaths_noted, is_demonstration
from pipeline.faults.passes import History, Pass
from pipeline.faults.roster import Roster, open_roster
from pipeline.records import OK, Record
from pipeline.worker.actor import InpaintActor
from pipeline.worker.pool import Pool
from tests.conftest import planned_sample
from tests.pipeline.worker.test_actor import unit

MAX_KILLS = 6  # a test that retries for ever would never fail


class BrokenWorkers(RayWorkers):
    def _flow(self, *_):
        raise RayActorError(error_msg="first line\nthe cause")


def test_error_of_a_whole_pass_is_one_of_the_executor_and_says_the_cause():
    workers = BrokenWorkers(InpaintActor, JobConfig(), "weights", "run", Pool(1, 0, 1, 1), Roster())
    with pytest.raises(ExecutorError, match=r"^the cause$"):
        list(workers.run_pass(pa.array([[]]), Pass()))


@pytest.mark.parametrize(
    ("weights", "address", "gpus", "expected"),
    [
        ("nano", None, 0, False),
        ("nano", None, 0.5, True),
        ("nano", "auto", 0, True),
        ("places2", "auto", 1, False),
        ("/srv/nano", "auto", 1, False),
    ],
)
def test_small_model_is_warned_about_where_there_are_gpus_or_a_cluster(weights, address, gpus, expected):
    assert is_demonstration(weights, address, Pool(1, gpus, 1, 1)) is expected


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


class Killer:
    """Engine that kills its worker whenever a unit is begun, up to ``MAX_KILLS`` times, and counts these times."""

    sink, steps = SimpleNamespace(storage=None), 0

    def __init__(self, config, *_):
        self.begun = Path(config.sink.uri) / "begun"

    def run(self, samples, probe=None):
        if probe:
            return [Record(samples[0]["sample_id"], OK)]
        with self.begun.open("a") as file:
            file.write("begun\n")
        if len(self.begun.read_text().splitlines()) < MAX_KILLS:
            os.kill(os.getpid(), signal.SIGKILL)
        return [Record(sample["sample_id"], OK) for sample in samples]


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize(
    ("history", "tries"), [(History.FRESH, 1), pytest.param(History.LOST_AGAIN, 2, marks=pytest.mark.slow)]
)
def test_unit_that_kills_its_workers_is_begun_once_and_in_isolation_twice(history, tries, tmp_path):
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    config = JobConfig(sink=SinkConfig(uri=str(tmp_path)))
    with open_roster() as roster:
        roster.new_pass()
        workers = RayWorkers(Killer, config, "weights", "run", Pool(1, 0, 0.5, 1), roster)
        this_pass = Pass(history, known_good=(planned_sample("good.png"),))
        rows = list(workers.run_pass(unit("poison.png")["samples"].combine_chunks(), this_pass))
    assert sum(table.num_rows for table in rows) == 0
    assert (tmp_path / "begun").read_text().count("begun") == tries


@pytest.mark.usefixtures("ray_cluster")
def test_flow_uses_nothing_that_a_later_release_of_ray_removes():
    workers = RayWorkers(Killer, JobConfig(), "weights", "run", Pool(1, 0, 0.5, 1), Roster())
    avoided = Pass(avoided=frozenset([28 * "ab"]))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RayDeprecationWarning)  # which users do not see, see connect.py
        workers._flow(unit("photo.png")["samples"].combine_chunks(), avoided, workers.pool)
