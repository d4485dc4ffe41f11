import os
import re
import signal
import subprocess

import pytest

from tests.joined_cluster import joined_cluster as joined_cluster_of_its_own
from tests.joined_cluster import run_driver, start_node, stop, wait_for

PLACES = """
import sys
import pyarrow as pa
import ray
from pipeline.cluster.connection.connect import connected
from pipeline.cluster.connection.nodes import avoiding, cluster_nodes

class Worker:
    def __call__(self, table):
        return pa.table({"node": [ray.get_runtime_context().get_node_id()]})

def places(avoided, **compute):
    tables = [pa.table({"number": [number]}) for number in range(4)]
    options = {"batch_format": "pyarrow", "batch_size": 1, "num_cpus": 0.4, **compute, **avoiding(avoided)}
    flow = ray.data.from_arrow(tables).map_batches(Worker if compute else Worker(), **options)
    return sorted({names[row["node"]] for row in flow.take_all()})

with connected(sys.argv[1]):
    nodes = cluster_nodes()
    names = {node.node_id: next(name for name in ("head", "second") if name in node.resources) for node in nodes}
    print(sorted(names.values()), {node.host for node in nodes} == {ray.nodes()[0]["NodeManagerHostname"]})
    for avoided in nodes:
        print(names[avoided.node_id])
        print(places([avoided.node_id], compute=ray.data.ActorPoolStrategy(size=2)))
    print(places([avoided.node_id, 28 * "ab"]))
    print(avoiding([]))
"""

HANDLERS = """
import logging, sys
from pipeline.cluster.connection.connect import connected

ours, logger = logging.NullHandler(), logging.getLogger("ray.data")
logger.addHandler(ours)
with connected(sys.argv[1]):
    print(ours.level, {logging.CRITICAL} == {handler.level for handler in logger.handlers if handler is not ours})
"""
SHORTAGE = """
import sys
import ray
from pipeline.cluster.connection.connect import connected
from pipeline.cluster.resources.holders import describe_shortage
from pipeline.worker.pool import Pool

@ray.remote
class Holder:
    def ready(self):
        return True

with connected(sys.argv[1]):
    if sys.argv[2:]:
        print(describe_shortage(Pool(2, 0, 0.8, 1)))
        print(describe_shortage(Pool(1, 1, 0.8, 1)))
    else:
        holders = [Holder.options(num_cpus=1, resources={name: 0.1}).remote() for name in ("head", "second")]
        ray.get([holder.ready.remote() for holder in holders])
        print("held", flush=True)
        sys.stdin.read()
"""

DYING = """
import os, sys
import ray
from pipeline.cluster.connection.connect import connected

@ray.remote(max_retries=0)
def die():
    os._exit(1)

with connected(sys.argv[1]):
    for _ in range(3):
        try:
            ray.get(die.remote())
        except ray.exceptions.WorkerCrashedError:
            pass
"""

WAITING = """
import logging, sys, time
from pipeline.cluster.connection.connect import connected

logging.basicConfig(format="%(levelname)s %(message)s")
with connected(sys.argv[1]):
    print("connected", flush=True)
    time.sleep(120)
"""


EXPIRY = """
import sys
from pipeline.cluster.connection.connect import connected

with connected(sys.argv[1]):
    from ray.data._internal.cluster_autoscaler import default_cluster_autoscaler_v2 as autoscaler

    print(autoscaler.DefaultClusterAutoscalerV2.AUTOSCALING_REQUEST_EXPIRE_TIME_S)
"""


def output_of(driver) -> list[str]:
    output, errors = driver.communicate(timeout=180)
    assert driver.returncode == 0 and not errors, errors
    return output.splitlines()


def test_workers_and_tasks_keep_off_nodes_that_are_to_be_avoided(joined_cluster):
    nodes, *avoided, tasks, nothing = output_of(run_driver(PLACES, joined_cluster.address))
    assert nodes == "['head', 'second'] True" and nothing == "{}"
    other = {"head": "['second']", "second": "['head']"}
    assert len(avoided) == 4 and all(
        other[name] == workers for name, workers in zip(avoided[::2], avoided[1::2], strict=True)
    )
    assert tasks == avoided[-1]


def test_shortage_says_what_is_wanted_and_what_another_job_leaves(joined_cluster):
    other = run_driver(SHORTAGE, joined_cluster.address, stdin=subprocess.PIPE)
    assert other.stdout.readline() == "held\n"
    try:
        cpus, gpus = output_of(run_driver(SHORTAGE, joined_cluster.address, "describe"))
    finally:
        other.communicate(timeout=60)
    start, holder = cpus.split(". Held by others: ")
    assert start == "A worker takes 0.8 CPUs of one node; free in the cluster are 0 of 2 CPUs"
    assert re.fullmatch(r"job \w+ \(from 127\.0\.0\.1\) has 2 CPUs", holder)
    assert gpus.startswith("A worker takes 0.8 CPUs and 1 GPUs of one node; free in the cluster are 0 of 2 CPUs and")


def test_deaths_of_workers_leave_no_lines_of_ray_in_the_terminal(joined_cluster):
    assert output_of(run_driver(DYING, joined_cluster.address)) == []


def test_handlers_of_other_packages_at_the_logger_of_ray_keep_their_level(joined_cluster):
    assert output_of(run_driver(HANDLERS, joined_cluster.address)) == ["0 True"]


def test_nodes_that_a_killed_driver_asked_for_are_soon_free_for_the_next_one(joined_cluster):
    (expiry_s,) = output_of(run_driver(EXPIRY, joined_cluster.address))
    assert int(expiry_s) <= 60  # Ray's default is three times as long


def test_loss_of_the_head_node_is_told_in_one_line_and_ends_the_driver_with_exit_code_1():
    with joined_cluster_of_its_own() as cluster:
        driver = run_driver(WAITING, cluster.address, env={"RAY_gcs_rpc_server_reconnect_timeout_s": "6"})
        assert driver.stdout.readline() == "connected\n"
        (gcs,) = cluster.head.processes("gcs_server")
        os.kill(gcs, signal.SIGKILL)
        _, errors = driver.communicate(timeout=60)
    told = f"ERROR the head node of the Ray cluster, {cluster.address}, has not answered for"
    assert driver.returncode == 1 and errors.startswith(told) and errors.count("\n") == 1
    assert errors.endswith("ends in 2 s with exit code 1; run the same command again to resume\n")


@pytest.mark.slow
def test_new_cluster_at_the_same_address_ends_the_driver_with_exit_code_1(tmp_path):
    with joined_cluster_of_its_own() as cluster:
        driver = run_driver(WAITING, cluster.address, env={"RAY_gcs_rpc_server_reconnect_timeout_s": "60"})
        assert driver.stdout.readline() == "connected\n"
        stop(cluster.head, is_graceful=False)
        port = int(cluster.address.rpartition(":")[2])
        flags = ["--head", f"--port={port}", "--include-dashboard=false"]
        head = start_node("third", cluster.head.folder.parent, flags, 1, {"HOME": str(tmp_path)})
        try:
            wait_for([head], port)
            _, errors = driver.communicate(timeout=60)
        finally:
            stop(head, is_graceful=False)
    assert driver.returncode == 1
    assert errors.splitlines()[-1].startswith(f"ERROR the head node of a new Ray cluster answers at {cluster.address}")
