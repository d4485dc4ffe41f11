"""How far a job is: one line that renews itself in a terminal, one plain line a minute in a log file."""

import time
from collections import Counter
from types import TracebackType
from typing import TextIO

import pyarrow as pa

LOG_EVERY_S = 60.0


class Progress:
    """Counts committed rows and shows rate and remaining time on a stream."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.live = stream.isatty()
        self.statuses: Counter[str] = Counter()
        self.started = self.shown = time.monotonic()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live and self.shown > self.started:
            self.stream.write("\n")

    def update(self, rows: pa.Table, total: int) -> None:
        """Count newly committed rows out of ``total``."""
        self.statuses.update(rows["status"].to_pylist())
        if not total:
            return
        now = time.monotonic()
        if self.live:
            self.stream.write(f"\r\x1b[K{self._line(now, total)}")
            self.shown = now
        elif now - self.shown >= LOG_EVERY_S:
            self.stream.write(f"{self._line(now, total)}\n")
            self.shown = now
        self.stream.flush()

    def _line(self, now: float, total: int) -> str:
        done = self.statuses.total()
        if not done:
            return f"0/{total} samples, workers are starting"
        rate = done / max(now - self.started, 1e-9)
        left = int((total - done) / rate)
        counts = ", ".join(f"{count} {status}" for status, count in sorted(self.statuses.items()))
        return (
            f"{done}/{total} samples ({counts})  {rate:.1f}/s  {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"
        )
