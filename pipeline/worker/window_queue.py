"""The queue of windows that wait for the model: batches of many samples that are sampled alike."""

from collections import Counter, deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np

from pipeline.records import Record

Kind: TypeAlias = tuple[float | None, str | None]  # strength and start; ``None``: as configured
MAX_PASSED = 8  # batches for which windows of another strength wait at most, if they do not fill a batch themselves
CONFIGURED: Kind = (None, None)


class Job(Protocol):
    """A sample with windows to fill, in rounds."""

    record: Record
    seed: int

    @property
    def count(self) -> int:
        """Number of windows of this round; :meth:`cut` and :meth:`paste` are called once for each."""

    @property
    def kind(self) -> Kind:
        """Strength and start of the windows of this round."""

    def name(self, number: int) -> str:
        """Return the name of a window, which with the sample's seed makes the window's seed."""

    def cut(self, number: int, size_px: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the model's input: pixels (size, size, 3) uint8 and mask (size, size) bool."""

    def paste(self, number: int, filled: np.ndarray) -> None:
        """Store one fill, (size, size, 3) uint8."""

    def advance(self) -> bool:
        """Begin the next round once all fills of this one are stored; false if there is none."""


@dataclass
class Entry:
    """A sample in the loop, with counts of windows handed out and returned."""

    job: Job
    done: Future[Job] = field(default_factory=Future)
    taken: int = 0
    returned: int = 0


class WindowQueue:
    """Windows of all waiting samples; its caller holds a lock.

    Windows are taken from samples in turn, so that a photo with thousands of holes does not delay others. A batch has
    one strength and one start, since all its windows take the same steps. Windows of others than the configured ones
    come from samples that are nearly done: they go first once they fill a batch, and otherwise let others pass, since a
    batch costs as much as a full one.
    """

    def __init__(self) -> None:
        self._entries: dict[Kind, deque[Entry]] = {}
        self._counts: Counter[Kind] = Counter()
        self._passed: Counter[Kind] = Counter()

    def __len__(self) -> int:
        """Return the number of waiting windows."""
        return self._counts.total()

    def put(self, job: Job) -> Entry:
        """Add a sample that has windows."""
        entry = Entry(job)
        self.put_again(entry)
        return entry

    def put_again(self, entry: Entry) -> None:
        """Add the windows of a sample's next round."""
        job = entry.job
        entry.taken = entry.returned = 0
        self._entries.setdefault(job.kind, deque()).append(entry)
        self._counts[job.kind] += job.count

    def take(self, size: int) -> list[tuple[Entry, int]]:
        """Return the entries and numbers of up to ``size`` windows of one kind."""
        kind = self._next_kind(size)
        return [self._take_from(kind) for _ in range(min(size, self._counts[kind]))]

    def _next_kind(self, size: int) -> Kind:
        waiting = [kind for kind, count in self._counts.items() if count]
        chosen = max(
            waiting,
            key=lambda kind: (
                self._passed[kind] >= MAX_PASSED,
                self._counts[kind] >= size,
                kind != CONFIGURED if self._counts[kind] >= size else self._counts[kind],
            ),
        )
        self._passed.update(kind for kind in waiting if kind != chosen)
        self._passed[chosen] = 0
        return chosen

    def _take_from(self, kind: Kind) -> tuple[Entry, int]:
        entries = self._entries[kind]
        entry = entries.popleft()
        number = entry.taken
        entry.taken += 1
        self._counts[kind] -= 1
        if entry.taken < entry.job.count:
            entries.append(entry)
        return entry, number
