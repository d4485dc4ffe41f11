"""Runs iterators in a few threads and gathers what they yield, in bounded memory."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from queue import Full, Queue
from threading import Event
from typing import Any, Generic, TypeVar

QUEUED_PER_THREAD = 2  # items that wait for the consumer
MAX_WAITING = 10_000  # tasks
WAIT_S = 0.1
T = TypeVar("T")
R = TypeVar("R")


class Branches(Generic[T]):
    """Tasks that wait for a thread; a running task may offer more.

    Args:
        tasks: the first ones.
        threads: that take them.
    """

    def __init__(self, tasks: Iterable[T], threads: int) -> None:
        self._waiting, self._threads = deque(tasks), threads
        self._changed = threading.Condition()
        self._running, self._is_closed = 0, False

    @property
    def are_few(self) -> bool:
        """Whether threads may soon run out of tasks."""
        return len(self._waiting) < self._threads

    def offer(self, task: T) -> bool:
        """Add a task, unless too many wait already; then the caller does it itself."""
        with self._changed:
            if len(self._waiting) >= MAX_WAITING:
                return False
            self._waiting.append(task)
            self._changed.notify()
            return True

    def __iter__(self) -> Iterator[T]:
        """Yield tasks to one thread until none is left and none can come."""
        while True:
            with self._changed:
                while not self._waiting and self._running and not self._is_closed:
                    self._changed.wait()
                if self._is_closed or not self._waiting:
                    return
                task = self._waiting.popleft()
                self._running += 1
            try:
                yield task
            finally:
                with self._changed:
                    self._running -= 1
                    self._changed.notify_all()

    def close(self) -> None:
        """Let no thread take another task."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


@dataclass(frozen=True)
class _Ended:
    """Marks the end of a thread's results."""

    fault: BaseException | None = None


def gather(tasks: Iterable[T], work: Callable[[T, Branches[T]], Iterator[R]], threads: int) -> Iterator[R]:
    """Yield what ``work`` yields for all tasks, in no particular order; its first exception ends all.

    Args:
        tasks: the first ones; each may offer more.
        work: called with a task and the other tasks, from several threads.
        threads: how many.
    """
    branches, queue, stop = Branches(tasks, threads), Queue[Any](threads * QUEUED_PER_THREAD), Event()
    running = [threading.Thread(target=_run, args=(branches, work, queue, stop), daemon=True) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        alive = threads
        while alive:
            item = queue.get()
            if not isinstance(item, _Ended):
                yield item
            elif item.fault is not None:
                raise item.fault
            else:
                alive -= 1
    finally:
        stop.set()
        branches.close()
        for thread in running:
            thread.join()


def _run(branches: Branches[T], work: Callable[[T, Branches[T]], Iterator[R]], queue: Queue, stop: Event) -> None:
    try:
        for task in branches:
            for item in work(task, branches):
                if not _put(queue, item, stop):
                    return
        _put(queue, _Ended(), stop)
    except BaseException as error:  # noqa: BLE001 - raised by the consumer
        _put(queue, _Ended(error), stop)


def _put(queue: Queue, item: object, stop: Event) -> bool:
    """Wait until the queue has room; return whether anyone still reads it."""
    while not stop.is_set():
        with suppress(Full):
            queue.put(item, timeout=WAIT_S)
            return True
    return False
