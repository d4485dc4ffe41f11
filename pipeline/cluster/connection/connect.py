"""Connect to Ray, quietly."""

import contextlib
import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator

import ray
from ray.util.annotations import RayDeprecationWarning

from pipeline.cluster.connection.head_watch import watched_head
from pipeline.cluster.connection.join import join
from pipeline.cluster.connection.local import start_local
from pipeline.cluster.connection.nodes import cluster_nodes
from pipeline.cluster.connection.ray_process import restored_afterwards

LOCAL = "local"


@contextlib.contextmanager
def connected(address: str | None, block_bytes: int | None = None) -> Iterator[bool]:
    """Use the cluster this process is connected to, the one at ``address`` or ``RAY_ADDRESS``, or a local one.

    Yields:
        Whether nodes can join it later.

    Raises:
        ConfigError: the cluster at ``address`` cannot be joined.
        OSError: there is no room for a local cluster.
    """
    if ray.is_initialized():
        _set_up_data(block_bytes)
        yield True
        return
    with restored_afterwards():
        try:
            with _kept_terminate_handler():
                address = _address_of(address)
                if address == LOCAL:
                    start_local()
                else:
                    join(address)
            _set_up_data(block_bytes)
            with watched_head():
                yield address != LOCAL
        finally:
            ray.shutdown()


def starts_local(address: str | None) -> bool:
    """Return whether :func:`connected` uses a cluster that is on this machine only."""
    if ray.is_initialized():
        return len(cluster_nodes()) == 1
    return _address_of(address) == LOCAL


def _address_of(address: str | None) -> str:
    return address or os.environ.get("RAY_ADDRESS") or LOCAL


@contextlib.contextmanager
def _kept_terminate_handler() -> Iterator[None]:
    """Keep Ray from installing its own handler of SIGTERM, which would end the driver with exit code 15."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _set_up_data(block_bytes: int | None) -> None:
    """Let Ray Data run quietly, leave failed units to the supervisor, and cut blocks at ``block_bytes``."""
    warnings.filterwarnings("ignore", category=RayDeprecationWarning)  # for us, not for users: errors in our tests
    for few in ("The maximum number of concurrent tasks", "The minimum number of concurrent actors"):
        warnings.filterwarnings("ignore", message=few)  # of a job with few units
    context = ray.data.DataContext.get_current()
    for handler in logging.getLogger("ray.data").handlers:
        if type(handler).__module__.startswith("ray."):  # others, such as pytest's, also write records of other loggers
            handler.setLevel(logging.CRITICAL)  # the supervisor listens to errors and tells what matters
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.issue_detectors_config.detectors = []
    context.target_max_block_size = block_bytes or context.target_max_block_size
    context.memory_usage_poll_interval_s = None  # it reads the page tables of workers every second
    context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0  # by default never reached by our workers
    context.max_errored_blocks = -1  # a unit that fails is left to the supervisor and stops nothing
    context.max_consecutive_actor_init_deaths = -1  # nor does a node on which workers die before they begin
