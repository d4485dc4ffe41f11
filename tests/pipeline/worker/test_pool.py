import pytest

from pipeline.config.job import RunConfig
from pipeline.errors import ConfigError
from pipeline.worker.pool import size_pool


def nodes(*pairs):
    return [{"CPU": float(cpus), "GPU": float(gpus)} for cpus, gpus in pairs]


@pytest.mark.parametrize(
    ("run", "cluster", "expected"),
    [
        (RunConfig(), nodes((2, 0)), (1, 0, 2)),
        (RunConfig(), nodes((64, 0)), (16, 0, 4)),
        (RunConfig(), nodes((64, 8)), (8, 1, 8)),
        (RunConfig(gpus_per_actor=0.5), nodes((64, 8)), (16, 0.5, 4)),
        (RunConfig(), nodes((64, 0), (8, 1), (8, 1)), (2, 1, 8)),
        (RunConfig(), nodes((2, 0), (2, 0), (2, 0)), (3, 0, 2)),
        (RunConfig(actors=2), nodes((2, 0), (2, 0), (2, 0)), (2, 0, 2)),
        (RunConfig(actors=4), nodes((8, 0)), (4, 0, 2)),
        (RunConfig(gpus_per_actor=0), nodes((16, 2)), (4, 0, 4)),
        (RunConfig(gpus_per_actor=0.2), nodes((20, 1)), (5, 0.2, 4)),
        (RunConfig(gpus_per_actor=0.1), nodes((40, 1), (40, 2)), (30, 0.1, 2)),
        (RunConfig(actors=5, gpus_per_actor=0.2), nodes((20, 1)), (5, 0.2, 4)),
    ],
)
def test_pool_fits_the_cluster(run, cluster, expected):
    pool = size_pool(run, cluster)
    assert (pool.actors, pool.gpus, pool.threads) == expected
    assert 0 < pool.cpus < pool.threads  # something is left to reading and writing
    hosts = [node for node in cluster if node["GPU"] >= pool.gpus]
    room = sum(int(min(node["CPU"] // pool.cpus, node["GPU"] / pool.gpus if pool.gpus else 99)) for node in hosts)
    assert room >= pool.actors


@pytest.mark.parametrize(
    ("run", "cluster", "expected"),
    [
        (RunConfig(), nodes((8, 1), (8, 1)), 1),  # whatever the machine below the container has
        (RunConfig(), nodes((64, 8), (8, 1)), 8),
        (RunConfig(actors=3), nodes((64, 0), (64, 0)), 2),
        (RunConfig(actors=1), nodes((64, 8)), 1),
    ],
)
def test_workers_on_one_node_share_its_memory(run, cluster, expected):
    pool = size_pool(run, cluster)
    assert max(pool.room_on(node) for node in cluster) == expected


@pytest.mark.parametrize(
    ("run", "cluster", "expected"),
    [
        (RunConfig(), nodes((2, 0)), (1, 1, None)),
        (RunConfig(), nodes((16, 2), (8, 1)), (3, 1, None)),
        (RunConfig(actors=2), nodes((16, 2), (8, 1)), (2, 2, 2)),
        (RunConfig(actors="1..8"), nodes((2, 0)), (1, 1, 8)),
        (RunConfig(actors="2..3"), nodes((16, 0)), (3, 2, 3)),
        (RunConfig(actors="4..8"), nodes((8, 2)), (4, 4, 8)),  # two are still to come
    ],
)
def test_pool_of_a_cluster_that_may_grow_follows_it(run, cluster, expected):
    pool = size_pool(run, cluster, may_grow=True)
    assert (pool.actors, pool.least, pool.most) == expected


def test_pool_of_a_machine_cannot_grow():
    assert size_pool(RunConfig(), nodes((16, 0))).most == 4
    assert size_pool(RunConfig(actors="1..8"), nodes((16, 0))).most == 4


def test_growing_pool_has_no_more_workers_on_a_node_than_it_has_cores_for():
    pool = size_pool(RunConfig(), nodes((64, 0)), may_grow=True)
    assert (pool.threads, pool.room_on({"CPU": 64})) == (4, 16)
    assert [pool.room_on({"CPU": cpus}) for cpus in (4, 8, 128, 2)] == [1, 2, 32, 1]
    pool = size_pool(RunConfig(), nodes((64, 2)), may_grow=True)
    assert pool.room_on({"CPU": 8, "GPU": 8}) == 8  # the GPUs decide
    assert size_pool(RunConfig(actors="1..3"), nodes((64, 0)), may_grow=True).room_on({"CPU": 640}) == 3


def test_more_gpus_than_there_are_is_a_configuration_error():
    with pytest.raises(ConfigError, match=r"asks for 3 workers with 1 GPUs each; the cluster has 2 GPUs.*1\.\.3"):
        size_pool(RunConfig(actors=3), nodes((8, 2)))
    with pytest.raises(ConfigError, match="the cluster has 0 GPUs"):
        size_pool(RunConfig(gpus_per_actor=1), nodes((8, 0)))
    with pytest.raises(ConfigError, match=r"a part of one GPU or a whole number, got 1\.5"):
        size_pool(RunConfig(gpus_per_actor=1.5), nodes((8, 4)))
    with pytest.raises(ConfigError, match="no node of the cluster has a whole CPU core"):
        size_pool(RunConfig(), nodes((0, 0), (0.5, 0)))
