"""The lease of a sink, or of a slice of it.

The lease spares a second run useless work and names the holder to its user. Correctness does not depend on it: the
manifest's exclusive commits hold even if two runs believe that they hold the sink.

A holder first creates its own file and then looks for those of others. Of two that exclude each other, at least one
therefore sees the other. Drivers of slices of one count do not exclude each other; the whole sink excludes all others.
"""

import contextlib
import json
import logging
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.slice import Slice
from pipeline.errors import ConfigError
from pipeline.faults.sink_holder import TAKEN_OVER, Epoch
from pipeline.manifest.lease_file import (
    KEY,
    Holder,
    delete_dead,
    lease_key,
    leased_slices,
    new_holder,
    read_holder,
    watch,
)
from pipeline.storage.errors import ConditionRefusedError, usable
from pipeline.storage.storage import Storage

RENEW_S = 5.0
SILENCE_S = 20.0  # a holder that renews nothing for that long is gone

logger = logging.getLogger(__name__)


class LeaseHeldError(RuntimeError):
    """Another run is working on the sink."""


class Lease:
    """Holds a sink, or a slice of it, inside ``with``; takes over from a run that died.

    Args:
        storage: of the sink.
        run_id: of the run.
        own_slice: to hold; ``None`` for the whole sink.
        is_brief: drivers of slices wait for the holder instead of ending.
        renew_s, silence_s: seconds between renewals, and without one, after which a holder is gone.

    Raises:
        LeaseHeldError: a holder that this one excludes is alive; the message says who and where it is.
        ConfigError: the storage cannot be written to, or does not guarantee that exactly one of two creators succeeds.
    """

    def __init__(
        self,
        storage: Storage,
        run_id: str,
        own_slice: Slice | None = None,
        is_brief: bool = False,
        renew_s: float = RENEW_S,
        silence_s: float = SILENCE_S,
    ) -> None:
        self.storage, self.slice, self.key = storage, own_slice, lease_key(own_slice)
        self.renew_s, self.silence_s = renew_s, silence_s
        self.holder: Holder = {**new_holder(run_id), "is_brief": is_brief}
        self.epoch = Epoch(storage, run_id, own_slice)
        self._stopped = threading.Event()
        self._writing = threading.Lock()
        self._renewer = threading.Thread(target=self._keep_renewing, daemon=True)

    def __enter__(self) -> "Lease":
        with usable(f"sink.uri: cannot write to {self.storage}"):
            self._take()
            self._renewer.start()
            try:
                self._check_exclusive()
                self._exclude_others()
                self.epoch.begin()
                self.holder["is_entering"] = False
                self._renew()
                self.check()  # if suspended before ``begin``, this run may have ended the epoch of another
            except BaseException:
                self.release()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give up the lease; a second call does nothing."""
        self._stopped.set()
        self._renewer.join()
        with contextlib.suppress(OSError):  # an unreachable storage undoes nothing that was committed
            self.epoch.end()
            if self._is_ours():
                self.storage.delete(self.key)

    def check(self) -> None:
        """Check that no other run has taken over, as may happen while this process is suspended.

        Raises:
            LeaseHeldError: somebody has.
        """
        if not (self._is_ours() and self.epoch.is_current()):
            raise LeaseHeldError(f"{self.storage} was taken over by another run while this process slept")

    def check_free(self) -> None:
        """Check that no run holds the sink or a slice of it, without taking it.

        Raises:
            LeaseHeldError: a run does.
        """
        living, _ = watch(self.storage, [None, *leased_slices(self.storage)], self.renew_s / 4, self.silence_s)
        if living:
            raise self._held(*living)

    @contextlib.contextmanager
    def alone(self) -> Iterator["Lease | None"]:
        """Hold the whole sink at the end of a run, to clean up.

        The driver of a slice gives its slice back first, so that the last of several finds no other.

        Yields:
            The lease of the whole sink, or ``None`` while other drivers work on it.
        """
        if self.slice is None:
            yield self
            return
        self.release()
        with contextlib.ExitStack() as held:
            lease = Lease(self.storage, self.holder["run_id"], None, True, self.renew_s, self.silence_s)
            try:
                held.enter_context(lease)
            except LeaseHeldError:
                yield None
            else:
                yield lease

    def _take(self) -> None:
        """Create the own file, unless a living holder has it.

        A holder of the whole sink that is entering either gives it up or goes on, and is waited for.
        """
        while not self._try_create():
            living = self._clear_dead([self.slice])
            if living and not (self.holder["is_brief"] and living[1].get("is_entering")):
                raise self._held(*living)

    def _exclude_others(self) -> None:
        """Wait for or refuse to join holders that this one excludes, and clear away dead ones."""
        if self.slice is None:
            self._refuse_living(leased_slices(self.storage))
            return
        is_told = False
        while read_holder(self.storage, KEY):
            living = self._clear_dead([None])
            if living and not (living[1].get("is_brief") or living[1].get("is_entering")):
                raise self._held(*living)
            if living and not is_told:
                logger.info("waiting for run %s, which is tidying up %s", living[1]["run_id"], self.storage)
                is_told = True
        self._refuse_living([found for found in leased_slices(self.storage) if found.count != self.slice.count])

    def _clear_dead(self, slices: Iterable[Slice | None]) -> tuple[Slice | None, Holder] | None:
        """Return a slice whose holder is alive, and its holder; if there is none, delete the leases of dead ones."""
        living, dead = watch(self.storage, slices, self.renew_s / 4, self.silence_s)
        delete_dead(self.storage, dead)
        return living

    def _refuse_living(self, slices: Iterable[Slice | None]) -> None:
        if living := self._clear_dead(slices):
            raise self._held(*living)

    def _held(self, held: Slice | None, holder: Holder) -> LeaseHeldError:
        part = "" if held is None else f"slice {held} of "
        if self.slice is None and held is not None:
            wait = "this needs the whole sink: wait for the drivers of its slices or stop them"
        elif self.slice is not None and held is not None and held != self.slice:
            wait = f"slice {self.slice} is of another number of slices: wait for these drivers or stop them"
        else:
            wait = "wait for it or stop it"
        return LeaseHeldError(
            f"{part}{self.storage} is held by run {holder['run_id']} (process {holder['pid']} on "
            f"{holder['place'].partition('/')[0]}); {wait}. If it crashes, run this command "
            f"again: it takes over within {self.silence_s:g} s"
        )

    def _try_create(self) -> bool:
        try:
            self.storage.create(self.key, self._content())
        except FileExistsError:
            return self._is_ours()  # a retried request meets its own first attempt
        except ConditionRefusedError as error:
            raise self._unsafe(f"cannot create a file only if it is absent ({error.strerror})") from error
        return True

    def _check_exclusive(self) -> None:
        """Check that the storage refuses to create an existing file: every commit depends on that."""
        with contextlib.suppress(FileExistsError):
            self.storage.create(self.key, self._content())
            self.storage.delete(self.key)
            raise self._unsafe("replaces a file that was to be created only if absent")

    def _unsafe(self, fault: str) -> ConfigError:
        return ConfigError(
            f"sink.uri: {self.storage} {fault}: without conditional PUT, rows could be lost or "
            "duplicated unnoticed; choose another storage for the sink"
        )

    def _keep_renewing(self) -> None:
        while not self._stopped.wait(self.renew_s):
            with contextlib.suppress(OSError):  # the storage may be away for a moment; the next renewal may succeed
                self._renew()  # where it is not ours any more, the next commit will show whether it matters

    def _renew(self) -> None:
        with self._writing:
            if self._is_ours():
                self.holder["renewals"] += 1
                self.storage.write(self.key, self._content())

    def _is_ours(self) -> bool:
        found = read_holder(self.storage, self.key)
        return found is not None and found["run_id"] == self.holder["run_id"]

    def _content(self) -> bytes:
        return json.dumps(self.holder).encode()


def until_taken_over(tables: Iterable[pa.Table], lease: Lease) -> Iterator[pa.Table]:
    """Yield rows until a worker reports that another run holds the sink, and the lease confirms it.

    Otherwise the worker sees another folder, on a node that does not share the sink; its samples are processed
    elsewhere.

    Args:
        tables: rows as workers return them; a generator is closed at the end.
        lease: of this run.

    Raises:
        LeaseHeldError: another run holds the sink.
    """
    try:
        for rows in tables:
            if pc.any(pc.equal(rows["error_type"], TAKEN_OVER)).as_py():
                lease.check()
            yield rows
    finally:  # the traceback of an error would keep the generator until the cluster is gone
        getattr(tables, "close", lambda: None)()
