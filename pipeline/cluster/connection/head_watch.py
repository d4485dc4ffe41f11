"""Logs that the head node is gone before Ray ends this process, and ends the process where Ray does not."""

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator

import ray

from pipeline.cluster.connection.ray_private import cluster_id
from pipeline.cluster.connection.ray_process import RECONNECT

TELL_FRACTION = 2 / 3  # of the time that Ray waits for a head node to come back
PROBES = 12  # in that time

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def watched_head() -> Iterator[None]:
    """Log an error when the connected cluster's head node has been silent for two thirds of Ray's reconnect time-out.

    Nothing more is possible: from then on every call of Ray blocks, and so does leaving a flow of Ray Data. After the
    time-out Ray ends the process. But if the head of a new cluster answers at the same address, Ray waits forever; then
    the watch ends the process, also with exit code 1.
    """
    over = threading.Event()
    reconnect_s = float(os.environ[RECONNECT])
    address = ray.get_runtime_context().gcs_address
    arguments = (address, cluster_id(address), reconnect_s, over)
    threading.Thread(target=_watch, args=arguments, name="head-watch", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _watch(address: str, cluster: str, reconnect_s: float, over: threading.Event) -> None:
    answered, told = time.monotonic(), False
    while not over.wait(reconnect_s / PROBES):
        if _answers(address, reconnect_s / PROBES):
            answered, told = time.monotonic(), False
            if _is_another(address, cluster) and not over.is_set():
                logger.error(
                    "the head node of a new Ray cluster answers at %s, and the cluster of this run is gone: the run "
                    "ends with exit code 1; run the same command again to resume",
                    address,
                )
                os._exit(1)
        elif not told and time.monotonic() - answered >= reconnect_s * TELL_FRACTION:
            told = True
            logger.error(
                "the head node of the Ray cluster, %s, has not answered for %.0f s: unless it comes back, this run "
                "ends in %.0f s with exit code 1; run the same command again to resume",
                address,
                time.monotonic() - answered,
                reconnect_s * (1 - TELL_FRACTION),
            )


def _answers(address: str, patience_s: float) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), patience_s).close()
    except OSError:
        return False
    return True


def _is_another(address: str, cluster: str) -> bool:
    try:
        return cluster_id(address) != cluster
    except Exception:  # noqa: BLE001 - a head node that is about to end or to start; the next probe asks again
        return False
