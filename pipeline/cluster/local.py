"""Start a Ray cluster on this machine that nobody else can use."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import ray
from ray._common.utils import get_default_ray_temp_dir
from ray._private import ray_constants

from pipeline.cluster.ray_process import away_from_user_modules, set_variables, silent_core

IDLE_WORKER_MS = 5000  # by default a worker ends after one idle second, and starting another takes about as long
TEMPORARY_BYTES = 100 << 20  # logs and sockets; a start that runs out of disk hangs, or ends in a stack trace


def start_local() -> None:
    """Start a cluster on loopback whose random token only this process and its children know.

    Raises:
        OSError: Ray's temporary folder has no room.
    """
    _check_room(Path(get_default_ray_temp_dir()))  # private; the public `RAY_TMPDIR` is only one of its sources
    # Without a token of ours, Ray makes one and leaves it in ~/.ray, where later clusters pick it up.
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    set_variables({**token, ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0"})
    with silent_core(), _on_loopback(), away_from_user_modules():
        ray.init(
            address="local",
            log_to_driver=False,
            logging_level="ERROR",
            include_dashboard=False,
            _system_config={"idle_worker_killing_time_threshold_ms": IDLE_WORKER_MS},
        )


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Let Ray take 127.0.0.1 for the address of this machine, as it does on macOS; then it listens nowhere else.

    The constant is private. Its variable is public, but read when Ray is imported; `_node_ip_address="127.0.0.1"` is
    replaced by an outer address.
    """
    kept = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = kept


def _check_room(folder: Path) -> None:
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < TEMPORARY_BYTES:
        raise OSError(
            f"Ray's temporary folder {os.fspath(folder)} has {free} bytes free and needs {TEMPORARY_BYTES}: "
            "free some, or name another folder in RAY_TMPDIR"
        )
