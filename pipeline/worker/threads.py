"""Threads that take the more urgent of two kinds of work first."""

import itertools
import queue
import threading
from collections.abc import Callable
from enum import IntEnum


class Urgency(IntEnum):
    """What comes first: finishing what is begun frees memory, and its pixels are still near the processor."""

    FINISH = 0
    BEGIN = 1


class CpuPool:
    """A thread a core; the tasks must neither fail nor wait for each other.

    Args:
        threads: how many tasks run at once.
    """

    def __init__(self, threads: int) -> None:
        self._tasks: queue.PriorityQueue[tuple[Urgency, int, Callable[[], None]]] = queue.PriorityQueue()
        self._numbers = itertools.count()
        for _ in range(threads):
            self.add_thread()

    def add_thread(self) -> None:
        """Add a thread, as for one that a task occupies for ever."""
        threading.Thread(target=self._work, daemon=True).start()

    def submit(self, urgency: Urgency, task: Callable[[], None]) -> None:
        """Do a task as soon as a thread is free; of equal urgency the first comes first."""
        self._tasks.put((urgency, next(self._numbers), task))

    def _work(self) -> None:
        while True:
            self._tasks.get()[2]()
