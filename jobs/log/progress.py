"""How far a job is: lines that renew themselves in a terminal, one plain line a minute in a log."""

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

import pyarrow as pa
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from jobs.log.progress_stats import Tally

LOG_EVERY_S = 60.0
REFRESHES_A_SECOND = 2

logger = logging.getLogger(__name__)


class Progress:
    """Shows what is committed, how fast, and what is left, while inside ``with``.

    Args:
        stream: where to; a terminal gets a bar, anything else lines of the log.
        may_draw: if not, a terminal gets lines of the log too.
    """

    def __init__(self, stream: TextIO, may_draw: bool = True) -> None:
        self.tally = Tally()
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

    def expect(self, model_calls: int) -> None:
        """Take note of how many calls of the model can run at once."""
        self.tally.model_calls = model_calls

    def update(self, rows: pa.Table, total: int) -> None:
        """Count newly committed rows out of ``total``; the first call begins to show something."""
        if not total:
            return
        with self._lock:
            is_start, are_first = not self.tally.total, rows.num_rows and not self.tally.done
            self.tally.count(rows, total, time.monotonic())
        if is_start and self._live:
            self._shown.enter_context(self._drawn())
        elif is_start:
            threading.Thread(target=self._log_now_and_then, daemon=True).start()
        if not self._live and (is_start or are_first):
            self._log()

    def _log(self) -> None:
        with self._lock:
            line, fields = self.tally.line(time.monotonic()), {"done": self.tally.done, "total": self.tally.total}
        logger.info("%s", line, extra=fields)

    def _log_now_and_then(self) -> None:
        while not self._stopped.wait(LOG_EVERY_S):
            self._log()

    @contextlib.contextmanager
    def _drawn(self) -> Iterator[None]:
        """Draw below whatever else is written to the stream, log lines included."""
        stream, handlers = self._stream, list[logging.StreamHandler[TextIO]]()
        if stream is sys.stderr:
            for handler in logging.getLogger().handlers:
                if isinstance(handler, logging.StreamHandler) and handler.stream is stream:
                    handlers.append(handler)
        with Live(
            get_renderable=self._picture,
            console=self._console,
            refresh_per_second=REFRESHES_A_SECOND,
            redirect_stdout=False,
            redirect_stderr=stream is sys.stderr,
        ):
            for handler in handlers:
                handler.setStream(sys.stderr)  # which is another now
            try:
                yield
            finally:
                for handler in handlers:
                    handler.setStream(stream)

    def _picture(self) -> Group:
        with self._lock:
            tally, now = self.tally, time.monotonic()
            bar = Table.grid(padding=(0, 1))
            bar.add_row(
                ProgressBar(total=tally.total, completed=tally.done, width=30),
                Text(f"{100 * tally.done / max(tally.total, 1):.0f} %"),
                Text(f"{tally.done:,} of {tally.total:,}", style="bold"),
                Text(tally.pace(now)),
            )
            return Group(bar, Text(tally.counts(), style="dim", no_wrap=True, overflow="ellipsis"))
