"""Decides how a sample is tried next from its history.

A fresh sample is tried in a large unit. One that a worker deferred is tried again by a worker that proves that it
works (:mod:`pipeline.worker.known_good`). One whose unit never came back, since its worker died, is tried in a small
unit and then in isolation; a sample that kills two tested workers is quarantined.
"""

from dataclasses import dataclass
from enum import IntEnum

from pipeline.sources.inputs import Sample


class History(IntEnum):
    """History of an unfinished sample; passes process the lowest first."""

    FRESH = 0
    DEFERRED = 1  # a worker returned it with a fault that may be the worker's own
    LOST = 2  # its unit did not come back
    LOST_AGAIN = 3


DEATHS = 2  # of tested workers with no other sample, after which the sample is to blame


@dataclass(frozen=True)
class Pass:
    """One pass over samples of the same history.

    Args:
        history: of the samples.
        known_good: samples that succeeded before, to test workers with.
        avoided: nodes whose workers only defer or die.
    """

    history: History = History.FRESH
    known_good: tuple[Sample, ...] = ()
    avoided: frozenset[str] = frozenset()

    @property
    def confirms(self) -> bool:
        """Whether a tested worker may fail a sample for a fault of the environment."""
        return self.history is not History.FRESH

    @property
    def tries(self) -> int:
        """Maximum attempts per unit; Ray itself would retry the unit of a dead worker forever."""
        return DEATHS if self.isolated else 1

    @property
    def isolated(self) -> bool:
        """Whether a worker holds one sample at a time, so that a crash affects no other sample."""
        return self.history is History.LOST_AGAIN

    def unit_samples(self, usual: int) -> int:
        """Return the samples per unit, given those of a fresh unit."""
        return {History.LOST: max(1, usual // 8), History.LOST_AGAIN: 1}.get(self.history, usual)
