"""Ends a worker whose node is about to go, after it has given back what it has not begun."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

DELIVERY_S = 2.0  # the executor fetches the last rows meanwhile
LEFT = 73  # exit code


class Departure:
    """Ends this process, once asked to, as soon as the calls that run have returned.

    Args:
        give_back: called once, from another thread: lets the calls that run return soon.
        end: ends the process; tests replace it.
    """

    def __init__(self, give_back: Callable[[], None], end: Callable[[], None] = lambda: os._exit(LEFT)) -> None:
        self._give_back, self._end = give_back, end
        self._calls, self._changed = 0, threading.Condition()
        self.has_begun = False

    def begin(self) -> None:
        """Start to leave; a second call has no effect. Signal handlers may call it."""
        with self._changed:
            if self.has_begun:
                return
            self.has_begun = True
        threading.Thread(target=self._leave, daemon=True).start()

    @contextmanager
    def call(self) -> Iterator[None]:
        """Mark the block as a call that has to return before the process ends; one that comes too late never begins.

        The executor gives a call without an answer to another worker.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self.has_begun)
            self._calls += 1
        try:
            yield
        finally:
            with self._changed:
                self._calls -= 1
                self._changed.notify_all()

    def _leave(self) -> None:
        self._give_back()
        with self._changed:
            self._changed.wait_for(lambda: not self._calls)
        time.sleep(DELIVERY_S)
        self._end()
