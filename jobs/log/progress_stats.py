"""Statistics of a running job: counts, rate, time left."""

from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.records import FAILED, STATUSES

RATE_PERIOD_S = 300.0  # over which rates are computed
WARM_UP_S = 30.0  # commits over so long suffice to leave the start of the workers out of the rate
SILENCE_S = 60.0  # without a commit, after which the age of the last one is shown
MAX_KINDS = 4  # error types shown by name


class _Commit(NamedTuple):
    """Totals at the time of a commit; ``capacity_s`` is what ``model_s`` would be if the model were always busy."""

    at_s: float
    done: int
    model_s: float
    capacity_s: float


class ProgressStats:
    """Counts the committed rows of a job and computes its pace.

    Every ``now`` is a time in seconds of a monotonic clock.
    """

    def __init__(self) -> None:
        self.total = self.done = 0
        self.model_calls: Callable[[], int] = lambda: 0  # that can run at once now
        self.statuses: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self._model_s = self._capacity_s = 0.0
        self._commits: deque[_Commit] = deque()

    def count(self, rows: pa.Table, total: int, now: float) -> None:
        """Add newly committed rows of a job of ``total`` samples."""
        self.total = total
        self.statuses.update(rows["status"].to_pylist())
        self.kinds.update(rows.filter(pc.equal(rows["status"], FAILED))["error_type"].to_pylist())
        self.done = self.statuses.total()
        self._model_s += pc.sum(rows["inpaint_s"]).as_py() or 0.0
        if self._commits:
            self._capacity_s += self.model_calls() * (now - self._commits[-1].at_s)
        self._commits.append(_Commit(now, self.done, self._model_s, self._capacity_s))
        while len(self._commits) > 2:
            period_s = RATE_PERIOD_S if self._commits[0].done else WARM_UP_S
            if now - self._commits[1].at_s < period_s:
                break
            self._commits.popleft()

    def line(self, now: float) -> str:
        """Return counts and pace in one line."""
        return f"{self.done}/{self.total} samples ({self.counts()})  {self.pace(now)}"

    def counts(self) -> str:
        """Return the numbers of samples by status and of failures by error type."""
        parts = [f"{count} {status}" for status in STATUSES if (count := self.statuses[status])]
        if self.kinds:
            named = [f"{count} {kind}" for kind, count in self.kinds.most_common(MAX_KINDS)]
            rest = self.kinds.total() - sum(count for _, count in self.kinds.most_common(MAX_KINDS))
            parts[-1] += ": " + ", ".join([*named, *([f"{rest} others"] if rest else [])])
        return ", ".join(parts) or "none done"

    def pace(self, now: float) -> str:
        """Return the rate, the time left, the busy share of the model, and the age of the last commit if it is old."""
        if not self.done:
            state = "first samples are under way" if self.model_calls() else "workers are starting"
            return f"{state}, {_clock(now - self._commits[0].at_s)}"
        first, last = self._commits[0], self._commits[-1]
        rate = (last.done - first.done) / max(last.at_s - first.at_s, 1e-9)
        parts = [f"{rate:.1f}/s" if rate >= 1 else f"{60 * rate:.1f}/min"]
        if rate:
            parts.append(f"{_clock(max((self.total - last.done) / rate - (now - last.at_s), 0))} left")
        if (capacity_s := last.capacity_s - first.capacity_s) > 0:
            busy = (last.model_s - first.model_s) / capacity_s
            parts.append(f"model busy {min(100 * busy, 100):.0f} %")
        if now - last.at_s > SILENCE_S:
            parts.append(f"last commit {_clock(now - last.at_s)} ago")
        return "  ".join(parts)


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
