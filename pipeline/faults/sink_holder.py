"""Checks which run may store results in a sink: a small file, written once when a run takes the sink, names it.

The lease cannot tell: a run that was suspended may renew it once more before it learns that another run has taken
over. Workers check this file right before results get their names, so that such a run replaces no result that rows of
the other run name.
"""

import threading
import time

from pipeline.config.slice import Slice
from pipeline.storage.storage import Storage

KEY = ".epoch"
SLICES = ".slices"  # folder of the same files of slices
LOCAL_MAX_AGE_S, REMOTE_MAX_AGE_S = 0.01, 1.0  # an answer is used again for that long
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # continues while the machine is suspended


class SinkTakenOver(RuntimeError):
    """This run no longer holds the sink."""


TAKEN_OVER = SinkTakenOver.__name__  # as rows name it


class Epoch:
    """The period in which one run holds a sink, or a slice of it.

    Args:
        storage: of the sink.
        run_id: of the run.
        own_slice: that it holds; ``None`` for the whole sink.
    """

    def __init__(self, storage: Storage, run_id: str, own_slice: Slice | None = None) -> None:
        self.storage, self.run_id, self.key = storage, run_id, epoch_key(own_slice)
        self._max_age_s = LOCAL_MAX_AGE_S if storage.is_local else REMOTE_MAX_AGE_S
        self._valid_until_s = float("-inf")
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Start the epoch of this run; workers of other runs store nothing from now on."""
        self.storage.write(self.key, self.run_id.encode())

    def end(self) -> None:
        """End the epoch, unless another run has started one."""
        if self.is_current():
            self.storage.delete(self.key)

    def is_current(self) -> bool:
        """Return whether this run holds the sink, by reading the storage."""
        try:
            return self.storage.read(self.key) == self.run_id.encode()
        except FileNotFoundError:
            return False

    def check(self) -> None:
        """Check that this run holds the sink; the answer is at most ``_max_age_s`` old. Thread-safe.

        Raises:
            SinkTakenOver: it does not.
            OSError: the storage does not answer.
        """
        with self._lock:
            now_s = time.clock_gettime(_CLOCK)
            if now_s < self._valid_until_s:
                return
            if not self.is_current():
                raise SinkTakenOver(
                    f"{self.storage} is not held by run {self.run_id} as this node sees it; nothing was stored. All "
                    "nodes must share sink.uri"
                )
            self._valid_until_s = now_s + self._max_age_s


def epoch_key(own_slice: Slice | None) -> str:
    """Return the key of the file that names the run."""
    return KEY if own_slice is None else f"{SLICES}/{own_slice.file_name}{KEY}"
