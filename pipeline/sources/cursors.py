"""Caches open cursors of forward-only files for later reads."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Generic, Protocol, TypeVar

from pipeline.sources.inputs import readable
from pipeline.storage.errors import FileChangedError
from pipeline.storage.storage import Storage

OPEN_AT_ONCE = 6  # by the units that a worker has at work


class Cursor(Protocol):
    """A forward-only position in a file."""

    position: int

    def close(self) -> None:
        """Close the file."""


C = TypeVar("C", bound=Cursor)


class Cursors(Generic[C]):
    """Lends the nearest cursor before a position, or opens a new one.

    Units of one file reach a worker in order, so usually the cursor of the previous unit is reused.

    Args:
        storage: of the files.
        open_cursor: opens one at its start.
    """

    def __init__(self, storage: Storage, open_cursor: Callable[[str], C]) -> None:
        self._storage, self._open, self._lock = storage, open_cursor, threading.Lock()
        self._idle: list[tuple[str, C]] = []  # the longest unused first

    @contextmanager
    def at(self, key: str, version: str, position: int) -> Iterator[C]:
        """Borrow a cursor of a file at or before a position; close it if the block raises.

        Raises:
            SampleError: the file has changed since it was listed.
        """
        cursor = self._take(key, position) or self._opened(key, version)
        try:
            yield cursor
        except BaseException:
            with suppress(OSError, ValueError):
                cursor.close()
            raise
        with self._lock:
            self._idle.append((key, cursor))
            surplus = self._idle[:-OPEN_AT_ONCE]
            del self._idle[:-OPEN_AT_ONCE]
        for _, idle in surplus:
            idle.close()

    def _opened(self, key: str, version: str) -> C:
        with readable("read", self._storage, key):
            cursor = self._open(key)
            if self._storage.stat(key).version != version:  # asked last: what is open stays what it is
                cursor.close()
                raise FileChangedError(key)
            return cursor

    def _take(self, key: str, position: int) -> C | None:
        with self._lock:
            fitting = [entry for entry in self._idle if entry[0] == key and entry[1].position <= position]
            if not fitting:
                return None
            best = max(fitting, key=lambda entry: entry[1].position)
            self._idle = [entry for entry in self._idle if entry is not best]
            return best[1]
