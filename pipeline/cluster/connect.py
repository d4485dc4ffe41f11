"""Connect to Ray, quietly, and decide how many workers of which size it can hold."""

import contextlib
import logging
import os
import signal
import threading
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.util.annotations import RayDeprecationWarning

from pipeline.cluster.head_watch import watched_head
from pipeline.cluster.join import join
from pipeline.cluster.local import start_local
from pipeline.cluster.ray_process import restored_afterwards
from pipeline.config.job import RunConfig
from pipeline.errors import ConfigError
from pipeline.worker.pool import Pool

CPUS_PER_CPU_ACTOR = 4
ROUNDING = 1e-6  # five times 0.2 GPUs are one GPU, although 1 // 0.2 is 4


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


def check_precision(precision: str, pool: Pool) -> None:
    """Refuse a precision in which the workers of a pool do not compute.

    Raises:
        ConfigError: fp16 for workers without a GPU.
    """
    if precision == "fp16" and not pool.gpus:
        raise ConfigError("model.precision=fp16 needs GPUs, and the cluster has none free; use bf16 or fp32 there")


def shrink_pool(pool: Pool, run: RunConfig, nodes: Sequence[Mapping[str, float]]) -> Pool:
    """Return a pool for fewer nodes: as many workers of the same size as fit, and at least one."""
    try:
        fitting = size_pool(replace(run, actors="auto"), nodes).actors
    except ConfigError:  # no node that is left has room; the cluster may grow
        fitting = 1
    return replace(pool, actors=min(pool.actors, fitting))


def size_pool(run: RunConfig, nodes: Sequence[Mapping[str, float]]) -> Pool:
    """Fit the actor pool to the nodes of a cluster: every actor must fit onto one of them.

    Args:
        run: the requested pool.
        nodes: ``CPU`` and ``GPU`` of each node.

    Raises:
        ConfigError: more GPU actors than fit, fractions of several GPUs, or no CPU core.
    """
    gpus = sum(node.get("GPU", 0.0) for node in nodes)
    gpus_each = (1.0 if gpus else 0.0) if run.gpus_per_actor == "auto" else float(run.gpus_per_actor)
    if gpus_each > 1 and not gpus_each.is_integer():
        raise ConfigError(f"run.gpus_per_actor must be a part of one GPU or a whole number, got {gpus_each:g}")
    hosts = [node for node in nodes if node.get("CPU", 0) >= 1 and node.get("GPU", 0.0) >= gpus_each]
    if gpus_each:
        room = [int(node["GPU"] / gpus_each + ROUNDING) for node in hosts]
    else:
        room = [int(max(1, node["CPU"] // CPUS_PER_CPU_ACTOR)) for node in hosts]
    actors = sum(room) if run.actors == "auto" else int(run.actors)
    if not any(node.get("CPU", 0) >= 1 for node in nodes):
        raise ConfigError("no node of the cluster has a whole CPU core: start it with --num-cpus")
    if not hosts or (gpus_each and actors > sum(room)):
        raise ConfigError(f"run asks for {actors} actors with {gpus_each:g} GPUs each; the cluster has {gpus:g} GPUs")
    if not gpus_each and run.actors != "auto":
        room = [-(-actors // len(hosts))] * len(hosts)
    share = max(1, min(int(node["CPU"] // held) for node, held in zip(hosts, room, strict=True)))
    per_node = min(actors, max(room))
    # A part of each share stays free for other tasks of the cluster; threads are not bound by it.
    return Pool(actors, gpus_each, min(max(1, share * 4 // 5), share * 0.8), share, per_node)
