"""Real SIGKILLs inside the flow, on a real cluster."""

import os
import signal
import sys

import pytest
import ray.cloudpickle

from pipeline.gpu_actor import InpaintActor
from pipeline.records import FAILED, OK
from tests.conftest import make_photos
from tests.pipeline.test_run import job, run

pytestmark = pytest.mark.usefixtures("ray_cluster")


class PoisonedActor(InpaintActor):
    """Dies of samples whose name says so."""

    def _decode(self, flight, *given):
        if "poison" in flight.record.sample_id:
            os.kill(os.getpid(), signal.SIGKILL)
        super()._decode(flight, *given)


def test_sample_that_kills_its_worker_is_quarantined_and_its_neighbours_are_fine(tmp_path, tiny_weights):
    photos, masks = make_photos(tmp_path, count=24)
    for folder in (photos, masks):
        (folder / "011.png").rename(folder / "011-poison.png")
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    rows = run(job(tmp_path, tiny_weights), worker=PoisonedActor)
    assert len(rows) == 24
    poisoned = rows.pop("011-poison.png")
    assert (poisoned["status"], poisoned["error_type"]) == (FAILED, "WorkerDied")
    assert poisoned["run_id"] == "run" and poisoned["output_uri"] is None
    assert {row["status"] for row in rows.values()} == {OK}
