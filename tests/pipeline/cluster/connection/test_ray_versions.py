"""Arguments that releases of Ray spell differently have the same effect on the one that is installed."""

import sys
import threading
import time

import pyarrow as pa
import pytest
import ray

from pipeline.cluster.connection.ray_versions import actor_pool


class Counter:
    """Returns the number of other calls that run in this actor, at most, during each of its calls."""

    def __init__(self) -> None:
        self.lock, self.running = threading.Lock(), 0

    def __call__(self, batch):
        with self.lock:
            self.running += 1
        most = 0
        for _ in range(20):
            most = max(most, self.running)
            time.sleep(0.05)
        with self.lock:
            self.running -= 1
        return {"running": [most]}


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("max_calls", [1, 3])
def test_actor_works_on_as_many_units_at_the_same_time_as_is_asked(max_calls):
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    units = [pa.table({"unit": [number]}) for number in range(6)]
    pool = actor_pool(max_units=max(max_calls, 4), max_calls=max_calls, size=1)
    flow = ray.data.from_arrow(units).map_batches(Counter, batch_size=1, num_cpus=0.5, **pool)
    assert max(row["running"] for row in flow.take_all()) == max_calls
