"""A thread pool with two priorities."""

import itertools
import queue
import threading
from collections.abc import Callable
from enum import IntEnum


class Urgency(IntEnum):
    """Priorities: finishing a sample frees memory, and its pixels are still in the cache."""

    FINISH = 0
    BEGIN = 1


class CpuPool:
    """One thread per core; tasks must neither raise nor wait for each other.

    Args:
        threads: how many tasks run at once.
    """

    def __init__(self, threads: int) -> None:
        self._tasks: queue.PriorityQueue[tuple[Urgency, int, Callable[[], None]]] = queue.PriorityQueue()
        self._numbers = itertools.count()
        for _ in range(threads):
            self.add_thread()

    def add_thread(self) -> None:
        """Add a thread, to replace one that a task blocks forever."""
        threading.Thread(target=self._work, daemon=True).start()

    def submit(self, urgency: Urgency, task: Callable[[], None]) -> None:
        """Queue a task; tasks of equal urgency run in order of submission."""
        self._tasks.put((urgency, next(self._numbers), task))

    def _work(self) -> None:
        while True:
            self._tasks.get()[2]()
