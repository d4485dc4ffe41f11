"""The lease of a sink: a small file that its holder keeps renewing.

The lease spares a second run useless work and names the holder to its user. Correctness does not depend on it: the
manifest's exclusive commits hold even if two runs believe that they hold the sink.
"""

import contextlib
import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.faults.sink_holder import TAKEN_OVER, Epoch
from pipeline.storage.errors import ConditionRefusedError, usable
from pipeline.storage.storage import Storage

KEY = ".lease.json"
RENEW_S = 5.0
SILENCE_S = 20.0  # a holder that renews nothing for that long is gone


class LeaseHeldError(RuntimeError):
    """Another run is working on the sink."""


class Lease:
    """Holds a sink inside ``with``; takes over from a run that died.

    No clocks are compared: a holder is alive if its file changes while we watch, or gone if its process on this machine
    no longer exists.

    Raises:
        LeaseHeldError: the holder is alive; the message says who and where it is.
        ConfigError: the storage cannot be written to, or does not guarantee that exactly one of two creators succeeds.
    """

    def __init__(self, storage: Storage, run_id: str, renew_s: float = RENEW_S, silence_s: float = SILENCE_S) -> None:
        self.storage = storage
        self.renew_s, self.silence_s = renew_s, silence_s
        self.holder: dict[str, Any] = {"run_id": run_id, "place": _place(), "pid": os.getpid(), "renewals": 0}
        self.epoch = Epoch(storage, run_id)
        self._stopped = threading.Event()
        self._renewer = threading.Thread(target=self._keep_renewing, daemon=True)

    def __enter__(self) -> "Lease":
        with usable(f"sink.uri: cannot write to {self.storage}"):
            while not self._try_create():
                found = self._read()
                if found is None:
                    continue  # released at this moment
                self._refuse_living(found)
                self.storage.delete(KEY)
            self._check_exclusive()
            self.epoch.begin()
        self.check()  # who slept before it began may have ended the epoch of another
        self._renewer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._renewer.join()
        with contextlib.suppress(OSError):  # a storage that is away takes nothing back of what was done
            self.epoch.end()
            if self._is_ours():
                self.storage.delete(KEY)

    def check(self) -> None:
        """Check that no other run has taken the sink over, as may happen while this process is suspended.

        Raises:
            LeaseHeldError: somebody has.
        """
        if not (self._is_ours() and self.epoch.is_current()):
            raise LeaseHeldError(f"{self.storage} was taken over by another run while this process slept")

    def check_free(self) -> None:
        """Check that no run holds the sink, without taking it.

        Raises:
            LeaseHeldError: a run does.
        """
        if found := self._read():
            self._refuse_living(found)

    def _refuse_living(self, found: dict[str, Any]) -> None:
        if not _is_dead(found) and self._is_renewed(found):
            raise LeaseHeldError(
                f"{self.storage} is held by run {found['run_id']} (process {found['pid']} on "
                f"{found['place'].partition('/')[0]}); wait for it or stop it. If it crashes, run this command "
                f"again: it takes over within {self.silence_s:g} s"
            )

    def _try_create(self) -> bool:
        try:
            self.storage.create(KEY, self._content())
        except FileExistsError:
            return self._is_ours()  # a retried request meets its own first attempt
        except ConditionRefusedError as error:
            raise self._unsafe(f"cannot create a file only if it is absent ({error.strerror})") from error
        return True

    def _check_exclusive(self) -> None:
        """Check that the storage refuses to create an existing file: every commit depends on that."""
        with contextlib.suppress(FileExistsError):
            self.storage.create(KEY, self._content())
            self.storage.delete(KEY)
            raise self._unsafe("replaces a file that was to be created only if absent")

    def _unsafe(self, fault: str) -> ConfigError:
        return ConfigError(
            f"sink.uri: {self.storage} {fault}: without conditional PUT, rows could be lost or "
            "duplicated unnoticed; choose another storage for the sink"
        )

    def _is_renewed(self, found: dict[str, Any]) -> bool:
        deadline = time.monotonic() + self.silence_s
        while time.monotonic() < deadline:
            time.sleep(self.renew_s / 4)
            if self._read() != found:
                return True
        return False

    def _keep_renewing(self) -> None:
        while not self._stopped.wait(self.renew_s):
            with contextlib.suppress(OSError):  # a storage that is away for a moment; the next renewal may do
                if not self._is_ours():
                    return  # we were silent for too long; the next commit will show whether it matters
                self.holder["renewals"] += 1
                self.storage.write(KEY, self._content())

    def _is_ours(self) -> bool:
        found = self._read()
        return found is not None and found["run_id"] == self.holder["run_id"]

    def _read(self) -> dict[str, Any] | None:
        try:
            return _holder(self.storage.read(KEY))
        except FileNotFoundError:
            return None

    def _content(self) -> bytes:
        return json.dumps(self.holder).encode()


def until_taken_over(tables: Iterable[pa.Table], lease: Lease) -> Iterator[pa.Table]:
    """Yield rows until a worker reports that another run holds the sink, and the lease confirms it.

    Otherwise the worker sees another folder, on a node that does not share the sink; its samples are processed
    elsewhere.

    Args:
        tables: rows as workers return them.
        lease: of this run.

    Raises:
        LeaseHeldError: another run holds the sink.
    """
    for rows in tables:
        if pc.any(pc.equal(rows["error_type"], TAKEN_OVER)).as_py():
            lease.check()
        yield rows


def _holder(content: bytes) -> dict[str, Any]:
    """Parse the holder from a lease file.

    A damaged or foreign file has an unknown holder, which is treated like any other: it is alive while the file
    changes.
    """
    try:
        holder = json.loads(content)
        if type(holder["run_id"]) is type(holder["place"]) is str and type(holder["pid"]) is int:
            return holder
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    return {"run_id": "?", "place": "?", "pid": "?", "content": hashlib.sha256(content).hexdigest()}


def _place() -> str:
    """Identify this machine, its last boot, and its PID namespace."""
    namespace = boot = ""
    with contextlib.suppress(OSError):  # no Linux
        namespace, boot = os.readlink("/proc/self/ns/pid"), Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{socket.gethostname()}/{namespace}/{boot}"  # machines made from one image may have the same name


def _is_dead(holder: dict[str, Any]) -> bool:
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
