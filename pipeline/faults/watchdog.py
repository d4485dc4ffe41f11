"""Detects steps of work that exceed a time limit, and sends signs of life."""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

TICK_S = 1.0
SIGN_OF_LIFE_S = 5.0  # between two signs of life of a worker


@dataclass
class _Step:
    ticks_left: float
    on_expiry: Callable[[], None]


class Watchdog:
    """Watches steps from a background thread.

    Time is counted in ticks, not by a clock: a machine that sleeps for an hour has not worked for an hour.

    Args:
        on_tick: called at every tick, as a sign of life.
        tick_s: seconds between two looks.
    """

    def __init__(self, on_tick: Callable[[], None] = lambda: None, tick_s: float = TICK_S) -> None:
        self._on_tick, self._tick_s = on_tick, tick_s
        self._steps: dict[int, _Step] = {}
        self._numbers, self._lock = itertools.count(), threading.Lock()
        threading.Thread(target=self._watch, daemon=True).start()

    @contextmanager
    def watching(self, limit_s: float, on_expiry: Callable[[], None]) -> Iterator[None]:
        """Call ``on_expiry`` once, from another thread, if the block takes longer than ``limit_s``."""
        number = next(self._numbers)
        with self._lock:
            self._steps[number] = _Step(limit_s / self._tick_s, on_expiry)
        try:
            yield
        finally:
            with self._lock:
                self._steps.pop(number, None)

    def _watch(self) -> None:
        pause = threading.Event()
        while not pause.wait(self._tick_s):
            self._on_tick()
            with self._lock:
                for step in self._steps.values():
                    step.ticks_left -= 1
                expired = [number for number, step in self._steps.items() if step.ticks_left < 0]
                late = [self._steps.pop(number) for number in expired]
            for step in late:
                step.on_expiry()
