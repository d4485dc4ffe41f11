"""Schedules by the clock: a run that has so many seconds uses them and ends with the last one."""

import math
import time


class Clock:
    """Share of a stage's time that is over.

    Args:
        seconds: of the stage, from now.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.started = seconds, time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    @property
    def share(self) -> float:
        """0 at the start, 1 at the end and afterwards."""
        return min(1.0, self.elapsed / self.seconds) if self.seconds > 0 else 1.0


def cosine_share(share: float, warm_up: float) -> float:
    """Share of the learning rate: linear up to ``warm_up`` of the time, then half a cosine down to 0 at the end."""
    if share < warm_up:
        return share / warm_up
    return 0.5 * (1 + math.cos(math.pi * (share - warm_up) / (1 - warm_up)))


def falling_share(share: float, warm_up: float, fall: float) -> float:
    """Share of the learning rate: linear up to ``warm_up``, then 1, over the last ``fall`` of the time linear to 0."""
    return min(1.0, share / warm_up if warm_up else 1.0, (1 - share) / fall)
