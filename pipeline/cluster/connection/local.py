"""Start a Ray cluster on this machine that nobody else can use."""

import os
import secrets
import shutil
from pathlib import Path

import ray

from pipeline.cluster.connection.ray_private import LOOPBACK, on_loopback, temporary_folder
from pipeline.cluster.connection.ray_process import away_from_user_modules, set_variables, silent_core

TEMPORARY_BYTES = 100 << 20  # logs and sockets; a start that runs out of disk hangs, or ends in a stack trace


def start_local() -> None:
    """Start a cluster on loopback whose random token only this process and its children know.

    Raises:
        OSError: Ray's temporary folder has no room.
    """
    _check_room(temporary_folder())
    # Without a token of ours, Ray makes one and leaves it in ~/.ray, where later clusters pick it up.
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    set_variables({**token, **LOOPBACK})
    with silent_core(), on_loopback(), away_from_user_modules():
        ray.init(
            address="local",
            log_to_driver=False,
            logging_level="ERROR",
            include_dashboard=False,
        )


def _check_room(folder: Path) -> None:
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < TEMPORARY_BYTES:
        raise OSError(
            f"Ray's temporary folder {os.fspath(folder)} has {free} bytes free and needs {TEMPORARY_BYTES}: "
            "free some, or name another folder in RAY_TMPDIR"
        )
