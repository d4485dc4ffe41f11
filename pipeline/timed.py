"""How long items were waited for."""

import time
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


class Timed(Iterator[T]):
    """Passes items on and adds up how long each was waited for.

    Args:
        items: to pass on.
    """

    def __init__(self, items: Iterator[T]) -> None:
        self._items, self.spent_s = items, 0.0

    def __next__(self) -> T:
        started = time.perf_counter()
        try:
            return next(self._items)
        finally:
            self.spent_s += time.perf_counter() - started
