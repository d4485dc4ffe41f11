"""Tells the user when workers are missing although there is work for them, and when they have come."""

import logging
import time
from collections.abc import Callable

SAY_S = 30.0  # without enough workers, until the log says so
SAY_AGAIN_S = 600.0

logger = logging.getLogger(__name__)


class Staffing:
    """Compares the number of workers that run with the number that should.

    Args:
        wanted: number of workers that should run.
        shortage: describes which resources the cluster lacks to start a worker.
        calls_each: calls of the model that one of them can run at once.
    """

    def __init__(self, wanted: int = 1, shortage: Callable[[], str] = str, calls_each: int = 1) -> None:
        self.wanted, self.shortage, self.calls_each = wanted, shortage, calls_each
        self.present = 0
        self._since = time.monotonic()
        self._say_at, self._has_said = self._since + SAY_S, False

    def model_calls(self) -> int:
        """Return how many calls of the model can run at once now."""
        return self.present * self.calls_each

    def note(self, present: int, has_work: bool) -> None:
        """Take note of how many workers run now, and log a shortage that lasts.

        Args:
            present: number of workers that run.
            has_work: whether there is work that no worker has begun.
        """
        self.present, now = present, time.monotonic()
        if present >= self.wanted or not has_work:
            if self._has_said and has_work:
                logger.info("%d workers run", present)
            self._since, self._say_at, self._has_said = now, now + SAY_S, False
        elif now > self._say_at:
            self._say_at, self._has_said = now + SAY_AGAIN_S, True
            waited_s = now - self._since
            if present:
                state = f"only {present} of {self.wanted} workers have run for {waited_s:.0f} s"
            else:
                state = f"no worker has started for {waited_s:.0f} s, still waiting"
            logger.warning("%s. %s", state, self.shortage())
