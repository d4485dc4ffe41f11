"""Connect to Ray, quietly, and decide how many workers of which size it can hold."""

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.annotations import RayDeprecationWarning

from pipeline.config import RunConfig
from pipeline.errors import ConfigError

CPUS_PER_CPU_ACTOR = 4
ROUNDING = 1e-6  # five times 0.2 GPUs are one GPU, although 1 // 0.2 is 4
ANSWER_S = 10.0  # a cluster that does not take a connection by then is not there
IDLE_WORKER_MS = 5000  # by default a worker ends after one idle second, and starting another takes about as long


@dataclass(frozen=True)
class Pool:
    """Size of the actor pool.

    Args:
        actors: how many.
        gpus: GPUs that each reserves.
        cpus: CPU cores that each reserves; the rest is left to Ray.
        threads: CPU threads that each uses for the model, and to decode and encode.
        a_node: how many share a node at most.
        task_cpus: CPU cores that a task takes which decodes or encodes.
    """

    actors: int
    gpus: float
    cpus: float
    threads: int
    a_node: int = 1
    task_cpus: float = 0.1

    @property
    def model_calls(self) -> int:
        """Calls of the model that can run at once: one a GPU worker, on CPUs one a thread."""
        return self.actors * (1 if self.gpus else self.threads)


@contextlib.contextmanager
def connected(address: str | None, block_bytes: int | None = None) -> Iterator[None]:
    """Use the cluster this process is connected to, the one at ``address`` or ``RAY_ADDRESS``, or a local one."""
    owner = not ray.is_initialized()
    if owner:
        address = address or os.environ.get("RAY_ADDRESS") or "local"
        on_terminate = signal.getsignal(signal.SIGTERM)
        if address == "local":
            _start_quietly()
        else:
            _join(address)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_terminate)  # Ray's own would end the driver with exit code 15
    # Retry limits have no other spelling before Ray 2.64, which is why pyproject.toml ends its range there.
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
    try:
        yield
    finally:
        if owner:
            ray.shutdown()


def _join(address: str) -> None:
    """Connect to a cluster.

    Raises:
        ConfigError: nothing answers there, or it is the address of Ray's client, which Ray Data does not run through.
    """
    if address.startswith("ray://"):
        raise ConfigError(
            f"run.address: Ray's client, {address}, cannot run this job: name the cluster itself, such as "
            "ray-head:6379, on a machine of its network, or send the job there with ray job submit"
        )
    host, colon, port = address.rpartition(":")
    try:
        if colon and port.isdigit():  # Ray itself would wait for minutes
            socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError, RayError) as error:
        raise ConfigError(f"run.address: no Ray cluster answers at {address}: {error}") from error


def _start_quietly() -> None:
    """Start a local cluster without the remarks of Ray's core, which look like errors and are none."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # it remarks on the log level, too
    try:
        ray.init(
            address="local",
            log_to_driver=False,
            logging_level="ERROR",
            include_dashboard=False,
            _system_config={"idle_worker_killing_time_threshold_ms": IDLE_WORKER_MS},
        )
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def node_resources(avoided: Collection[str] = ()) -> list[Mapping[str, float]]:
    """Resources of each living node of the connected cluster, but for those with some ids."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"] and node["NodeID"] not in avoided]


def avoiding(node_ids: Collection[str]) -> dict[str, Any]:
    """Arguments of ``map_batches`` that keep its workers off some nodes."""
    return {"label_selector": {"ray.io/node-id": f"!in({','.join(sorted(node_ids))})"}} if node_ids else {}


def shrink_pool(pool: Pool, run: RunConfig, nodes: Sequence[Mapping[str, float]]) -> Pool:
    """A pool for fewer nodes: as many workers as fit there, of the same size, and at least one."""
    try:
        fitting = size_pool(replace(run, actors="auto"), nodes).actors
    except ConfigError:  # no node that is left has room; the cluster may grow
        fitting = 1
    return replace(pool, actors=min(pool.actors, fitting))


def size_pool(run: RunConfig, nodes: Sequence[Mapping[str, float]]) -> Pool:
    """Fit the actor pool to the nodes of a cluster: every actor must fit onto one of them.

    Args:
        run: what was asked for.
        nodes: ``CPU`` and ``GPU`` of each node.

    Raises:
        ConfigError: more actors with GPUs asked for than there is room for, parts of several GPUs, or no CPU core.
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
    a_node = min(actors, max(room))
    if run.decode == "tasks" and gpus_each:
        return Pool(actors, gpus_each, 1, share, a_node, task_cpus=1)
    # A part of each share stays free, for the tasks of run.decode=tasks where there are no other nodes.
    return Pool(actors, gpus_each, min(max(1, share * 4 // 5), share * 0.8), share, a_node)
