"""Real SIGKILLs inside the flow, on a real cluster."""

import os
import signal
import sys

import pytest
import ray.cloudpickle

from pipeline.executor.ray_data import RayExecutor
from pipeline.records import FAILED, OK
from tests.conftest import make_photos
from tests.pipeline.scenarios.test_run import job, run
from tests.pipeline.worker import test_actor

pytestmark = pytest.mark.usefixtures("ray_cluster")


class PoisonedActor(test_actor.EchoActor):
    """Dies of samples whose name says so; starts without a model, since it starts a dozen times."""

    def _decode(self, task, *given):
        if "poison" in task.record.sample_id:
            os.kill(os.getpid(), signal.SIGKILL)
        super()._decode(task, *given)


@pytest.mark.slow  # on a joined cluster test_whose_fault.py does it
def test_sample_that_kills_its_worker_is_quarantined_and_its_neighbours_are_fine(tmp_path, tiny_weights):
    photos, masks = make_photos(tmp_path, count=16)
    for folder in (photos, masks):
        (folder / "003.png").rename(folder / "003-poison.png")
    for module in (sys.modules[__name__], test_actor):
        ray.cloudpickle.register_pickle_by_value(module)
    rows = run(job(tmp_path, tiny_weights), executor=RayExecutor(PoisonedActor))
    assert len(rows) == 16
    poisoned = rows.pop("003-poison.png")
    assert (poisoned["status"], poisoned["error_type"]) == (FAILED, "WorkerDied")
    assert poisoned["run_id"] == "run" and poisoned["output_uri"] is None
    assert {row["status"] for row in rows.values()} == {OK}
