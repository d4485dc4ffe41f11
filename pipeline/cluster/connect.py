"""Connect to Ray, quietly, and describe what the cluster has."""

import contextlib
import logging
import os
import signal
import threading
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.annotations import RayDeprecationWarning

from pipeline.cluster.head_watch import watched_head
from pipeline.cluster.join import join
from pipeline.cluster.local import start_local
from pipeline.cluster.ray_process import restored_afterwards
from pipeline.worker.pool import Pool


@contextlib.contextmanager
def connected(address: str | None, block_bytes: int | None = None) -> Iterator[None]:
    """Use the cluster this process is connected to, the one at ``address`` or ``RAY_ADDRESS``, or a local one.

    Raises:
        ConfigError: the cluster at ``address`` cannot be joined.
        OSError: there is no room for a local cluster.
    """
    if ray.is_initialized():
        _set_up_data(block_bytes)
        yield
        return
    with restored_afterwards():
        try:
            with _kept_terminate_handler():
                address = address or os.environ.get("RAY_ADDRESS") or "local"
                if address == "local":
                    start_local()
                else:
                    join(address)
            _set_up_data(block_bytes)
            with watched_head():
                yield
        finally:
            ray.shutdown()


@contextlib.contextmanager
def _kept_terminate_handler() -> Iterator[None]:
    """Keep Ray from installing its own handler of SIGTERM, which would end the driver with exit code 15."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _set_up_data(block_bytes: int | None) -> None:
    """Let Ray Data run quietly, leave failed units to the supervisor, and cut blocks at ``block_bytes``."""
    # Retry limits have no other spelling before Ray 2.64; hence the upper bound in pyproject.toml.
    warnings.filterwarnings("ignore", category=RayDeprecationWarning)
    for few in ("The maximum number of concurrent tasks", "The minimum number of concurrent actors"):
        warnings.filterwarnings("ignore", message=few)  # of a job with few units
    context = ray.data.DataContext.get_current()
    for handler in logging.getLogger("ray.data").handlers:
        handler.setLevel(logging.CRITICAL)  # the supervisor listens to errors and tells what matters
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.issue_detectors_config.detectors = []
    context.target_max_block_size = block_bytes or context.target_max_block_size
    context.memory_usage_poll_interval_s = None  # it reads the page tables of workers every second
    context.max_errored_blocks = -1  # a unit that fails is left to the supervisor and stops nothing
    context.max_consecutive_actor_init_deaths = -1  # nor does a node on which workers die before they begin


@dataclass(frozen=True)
class ClusterNode:
    """A node of the connected cluster.

    Args:
        node_id: what Ray calls it.
        host: name of its machine.
        resources: what it has, ``CPU`` and ``GPU`` among others.
    """

    node_id: str
    host: str
    resources: Mapping[str, float]


def cluster_nodes() -> list[ClusterNode]:
    """Return the nodes of the connected cluster that are alive."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    return [ClusterNode(node["NodeID"], node["NodeManagerHostname"], node["Resources"]) for node in alive]


def node_resources(avoided: Collection[str] = ()) -> list[Mapping[str, float]]:
    """Return what each node of the connected cluster has, except those with some ids."""
    return [node.resources for node in cluster_nodes() if node.node_id not in avoided]


def avoiding(node_ids: Collection[str]) -> dict[str, Any]:
    """Return the arguments of ``map_batches`` that keep its workers and tasks off some nodes.

    Size the pool by the other nodes: workers that only fit onto an avoided node never start.
    """
    if not node_ids:
        return {}
    return {"label_selector": {"ray.io/node-id": f"!in({','.join(sorted(node_ids))})"}}


def describe_shortage(pool: Pool) -> str:
    """Describe, for a line of the log, what a worker of the pool takes and what is free in the connected cluster."""
    has, free = ray.cluster_resources(), ray.available_resources()
    cpus, gpus = (f"{free.get(kind, 0):g} of {has.get(kind, 0):g} {kind}s" for kind in ("CPU", "GPU"))
    each = f"{pool.cpus:g} CPUs" + (f" and {pool.gpus:g} GPUs" if pool.gpus else "")
    wanted = f"{pool.actors} workers want {each} each, on one node"
    return f"{wanted}; free in the cluster are {cpus}" + (f" and {gpus}" if pool.gpus else "")
