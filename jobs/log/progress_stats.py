"""Counts committed rows and says in words how a job goes."""

from collections import Counter, deque
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.records import FAILED, STATUSES

RECENT_S = 300.0  # what rates are taken over
SETTLED_S = 30.0  # of commits are enough to leave the start of the workers out
SILENCE_S = 60.0  # without a commit is worth a word
MOST_KINDS = 4


class _Moment(NamedTuple):
    """How far things were at a commit."""

    at_s: float
    done: int
    model_s: float


class Tally:
    """What is done of a job, and how fast.

    Times are of a clock that only runs forward, in seconds.
    """

    def __init__(self) -> None:
        self.total = self.done = 0
        self.model_calls = 0  # that can run at once; 0 before the workers are known
        self.statuses: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self._model_s = 0.0
        self._moments: deque[_Moment] = deque()

    def count(self, rows: pa.Table, total: int, now: float) -> None:
        """Add newly committed rows out of ``total``."""
        self.total = total
        self.statuses.update(rows["status"].to_pylist())
        self.kinds.update(rows.filter(pc.equal(rows["status"], FAILED))["error_type"].to_pylist())
        self.done = self.statuses.total()
        self._model_s += pc.sum(rows["inpaint_s"]).as_py() or 0.0
        self._moments.append(_Moment(now, self.done, self._model_s))
        while len(self._moments) > 2:
            enough_s = RECENT_S if self._moments[0].done else SETTLED_S
            if now - self._moments[1].at_s < enough_s:
                break
            self._moments.popleft()

    def line(self, now: float) -> str:
        """Everything in one line."""
        return f"{self.done}/{self.total} samples ({self.counts()})  {self.pace(now)}"

    def counts(self) -> str:
        """Samples by status, failures by kind."""
        parts = [f"{count} {status}" for status in STATUSES if (count := self.statuses[status])]
        if self.kinds:
            named = [f"{count} {kind}" for kind, count in self.kinds.most_common(MOST_KINDS)]
            rest = self.kinds.total() - sum(count for _, count in self.kinds.most_common(MOST_KINDS))
            parts[-1] += ": " + ", ".join([*named, *([f"{rest} others"] if rest else [])])
        return ", ".join(parts) or "none done"

    def pace(self, now: float) -> str:
        """Rate, time left, share of the time that the model is at work, and whether nothing comes any more."""
        if not self.done:
            return f"workers are starting, {_clock(now - self._moments[0].at_s)}"
        first, last = self._moments[0], self._moments[-1]
        rate = (last.done - first.done) / max(last.at_s - first.at_s, 1e-9)
        words = [f"{rate:.1f}/s" if rate >= 1 else f"{60 * rate:.1f}/min"]
        if rate:
            words.append(f"{_clock(max((self.total - last.done) / rate - (now - last.at_s), 0))} left")
        if self.model_calls:
            busy = (last.model_s - first.model_s) / max(self.model_calls * (last.at_s - first.at_s), 1e-9)
            words.append(f"model busy {min(100 * busy, 100):.0f} %")
        if now - last.at_s > SILENCE_S:
            words.append(f"last commit {_clock(now - last.at_s)} ago")
        return "  ".join(words)


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
