"""Shows the progress of a job: a bar in a terminal, one line per minute in a log."""

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

import pyarrow as pa
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from jobs.log.progress_stats import ProgressStats

LOG_EVERY_S = 60.0
REFRESHES_PER_S = 2

logger = logging.getLogger(__name__)


class Progress:
    """Context manager that shows committed samples, rate and time left until it is closed.

    Args:
        stream: a terminal gets a bar; for any other stream, progress is logged.
        may_draw: whether a terminal gets a bar; if not, progress is logged.
    """

    def __init__(self, stream: TextIO, may_draw: bool = True) -> None:
        self.stats = ProgressStats()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._shown = contextlib.ExitStack()
        self._stream, self._console = stream, Console(file=stream)
        self._live = may_draw and stream.isatty() and not self._console.is_dumb_terminal

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._shown.close()

    def expect(self, model_calls: Callable[[], int]) -> None:
        """Set the function that returns how many calls of the model can run at once now."""
        self.stats.model_calls = model_calls

    def update(self, rows: pa.Table, total: int) -> None:
        """Count newly committed rows of a job of ``total`` samples; the first call starts the display."""
        if not total:
            return
        with self._lock:
            is_start, are_first = not self.stats.total, rows.num_rows and not self.stats.done
            self.stats.count(rows, total, time.monotonic())
        if is_start and self._live:
            self._shown.enter_context(self._drawn())
        elif is_start:
            threading.Thread(target=self._log_periodically, daemon=True).start()
        if not self._live and (is_start or are_first):
            self._log()

    def _log(self) -> None:
        with self._lock:
            line, fields = self.stats.line(time.monotonic()), {"done": self.stats.done, "total": self.stats.total}
        logger.info("%s", line, extra=fields)

    def _log_periodically(self) -> None:
        while not self._stopped.wait(LOG_EVERY_S):
            self._log()

    @contextlib.contextmanager
    def _drawn(self) -> Iterator[None]:
        """Draw below everything else that is written to the stream, including log lines."""
        stream, handlers = self._stream, list[logging.StreamHandler[TextIO]]()
        if stream is sys.stderr:
            for handler in logging.getLogger().handlers:
                if isinstance(handler, logging.StreamHandler) and handler.stream is stream:
                    handlers.append(handler)
        with Live(
            get_renderable=self._rendered,
            console=self._console,
            refresh_per_second=REFRESHES_PER_S,
            redirect_stdout=False,
            redirect_stderr=stream is sys.stderr,
        ):
            for handler in handlers:
                handler.setStream(sys.stderr)  # replaced by Live
            try:
                yield
            finally:
                for handler in handlers:
                    handler.setStream(stream)

    def _rendered(self) -> Group:
        with self._lock:
            stats, now = self.stats, time.monotonic()
            bar = Table.grid(padding=(0, 1))
            bar.add_row(
                ProgressBar(total=stats.total, completed=stats.done, width=30),
                Text(f"{100 * stats.done / max(stats.total, 1):.0f} %"),
                Text(f"{stats.done:,} of {stats.total:,}", style="bold"),
                Text(stats.pace(now)),
            )
            return Group(bar, Text(stats.counts(), style="dim", no_wrap=True, overflow="ellipsis"))
