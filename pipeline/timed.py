"""Measures the time spent waiting for items."""

import time
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


class Timed(Iterator[T]):
    """Iterator that sums the seconds spent waiting for its items in ``spent_s``.

    Args:
        items: the wrapped iterator.
    """

    def __init__(self, items: Iterator[T]) -> None:
        self._items, self.spent_s = items, 0.0

    def __next__(self) -> T:
        started = time.perf_counter()
        try:
            return next(self._items)
        finally:
            self.spent_s += time.perf_counter() - started
