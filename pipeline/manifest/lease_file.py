"""A lease: a small file that its holder keeps renewing while it works.

No clocks are compared: a holder is alive if its file changes while we watch, or gone if its process on this machine no
longer exists.
"""

import contextlib
import hashlib
import json
import os
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.config.slice import Slice
from pipeline.faults.sink_holder import SLICES, epoch_key
from pipeline.storage.storage import Storage

KEY = ".lease.json"
Holder = dict[str, Any]


def lease_key(own_slice: Slice | None) -> str:
    """Return the key of the lease of a slice, or of the whole sink."""
    return KEY if own_slice is None else f"{SLICES}/{own_slice.file_name}{KEY}"


def leased_slices(storage: Storage) -> list[Slice]:
    """Return the slices that have a lease, of living or dead holders."""
    keys = (file.key for file in storage.list_files(SLICES))
    names = (key.removeprefix(f"{SLICES}/").removesuffix(KEY) for key in keys if key.endswith(KEY))
    return sorted(Slice.parse(name) for name in names)


def new_holder(run_id: str) -> Holder:
    """Describe this process as the holder of a lease that it has not got yet."""
    return {"run_id": run_id, "place": _place(), "pid": os.getpid(), "renewals": 0, "is_entering": True}


def read_holder(storage: Storage, key: str) -> Holder | None:
    """Read the holder of a lease; ``None`` if there is no such file.

    A damaged or foreign file has an unknown holder, which is treated like any other: it is alive while the file
    changes.
    """
    try:
        content = storage.read(key)
    except FileNotFoundError:
        return None
    with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
        holder: Holder = json.loads(content)
        if type(holder["run_id"]) is type(holder["place"]) is str and type(holder["pid"]) is int:
            return holder
    return {"run_id": "?", "place": "?", "pid": "?", "content": hashlib.sha256(content).hexdigest()}


class Watched(NamedTuple):
    """Result of watching some leases.

    Args:
        living: one whose holder is alive, if any, and its holder.
        dead: those whose holders are gone, if none is alive.
    """

    living: tuple[Slice | None, Holder] | None
    dead: list[Slice | None]


def watch(storage: Storage, slices: Iterable[Slice | None], pause_s: float, silence_s: float) -> Watched:
    """Watch leases until one proves to be alive, or none can be.

    Args:
        storage: of the sink.
        slices: whose leases.
        pause_s: between two looks.
        silence_s: a holder that renews nothing for that long is dead.
    """
    found = {key: holder for key in slices if (holder := read_holder(storage, lease_key(key)))}
    watched = {key: holder for key, holder in found.items() if not _is_dead(holder)}
    deadline = time.monotonic() + silence_s
    while watched and time.monotonic() < deadline:
        time.sleep(pause_s)
        for key, holder in list(watched.items()):
            now = read_holder(storage, lease_key(key))
            if now is None:  # released
                del found[key], watched[key]
            elif now != holder:
                return Watched((key, now), [])
    return Watched(None, list(found))


def delete_dead(storage: Storage, slices: Iterable[Slice | None]) -> None:
    """Delete the leases of dead holders, after the files by which their workers still may store results."""
    for own_slice in slices:
        storage.delete(epoch_key(own_slice))
        storage.delete(lease_key(own_slice))


def _place() -> str:
    """Identify this machine, its last boot, and its PID namespace."""
    namespace = boot = ""
    with contextlib.suppress(OSError):  # no Linux
        namespace, boot = os.readlink("/proc/self/ns/pid"), Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{socket.gethostname()}/{namespace}/{boot}"  # machines made from one image may have the same name


def _is_dead(holder: Holder) -> bool:
    """Return whether the holder is a process of this machine that no longer exists."""
    if holder["place"] != _place():
        return False
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):  # of another user, or no number of a process
        pass
    return False
