"""Waits for the first GPU of a cluster that has none yet."""

import logging
import time

import ray

from pipeline.cluster.connection.nodes import node_resources
from pipeline.errors import JobError

LOOK_S = 1.0

logger = logging.getLogger(__name__)


def await_first_gpu(wait_s: float) -> None:
    """Wait until a node of the connected cluster has a GPU, and ask an autoscaler for one meanwhile.

    Args:
        wait_s: maximum seconds.

    Raises:
        JobError: none came.
    """
    deadline = time.monotonic() + wait_s
    if _has_gpu():
        return
    logger.info("the cluster has no GPU yet; waiting for one for at most run.wait_for_gpus=%g s", wait_s)
    demand = ray.remote(num_gpus=1, max_retries=0)(_do_nothing).remote()  # autoscalers see what waits for resources
    try:
        while not _has_gpu():
            if time.monotonic() > deadline:
                raise JobError(
                    f"no node with a GPU has joined the cluster within run.wait_for_gpus={wait_s:g} s; start one, or "
                    "set run.gpus_per_actor=0 for workers on CPUs, then run the same command again"
                )
            time.sleep(LOOK_S)
    finally:
        ray.cancel(demand, force=True)


def _has_gpu() -> bool:
    return any(node.get("GPU", 0) > 0 for node in node_resources())


def _do_nothing() -> None:
    """Wait for a GPU."""
