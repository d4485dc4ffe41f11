"""Notes the losses of steps: in a file, on the board, and from time to time in the log."""

import logging
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from moebius.train.logs.board import Board
from moebius.train.logs.rows import append_row

TELL_S = 10.0  # between two lines of the log
MEASURED_STEPS = 20  # after the first ones, which are slower, for an estimate of the whole

logger = logging.getLogger(__name__)


class Progress:
    """The progress of a training run.

    Args:
        path: of the CSV file that gets a row for each noted step.
        board: gets them, too.
        first: steps that an earlier run has finished.
        steps: of the whole training.
    """

    def __init__(self, path: Path, board: Board | None, first: int, steps: int) -> None:
        self._path, self._board, self._first, self._steps = path, board, first, steps
        self._started = self._told = time.monotonic()
        self._warm: tuple[float, int] | None = None  # when the first steps were noted, and how many
        self._is_estimated = False

    def note(self, done: int, losses: Mapping[str, float], gradient_norm: float) -> None:
        """Note the losses of the last of ``done`` steps."""
        now = time.monotonic()
        speed = (done - self._first) / (now - self._started)
        row = {"step": done, **losses, "grad_norm": gradient_norm, "steps_per_s": round(speed, 3)}
        append_row(self._path, row)
        if self._board is not None:
            self._board.add_row(row)
        if now - self._told >= TELL_S or done == self._steps:
            self._told, left = now, timedelta(seconds=round((self._steps - done) / speed))
            logger.info("step %d/%d  loss %.4g  %.3g steps/s  %s left", done, self._steps, losses["total"], speed, left)
        self._estimate(now, done)

    def _estimate(self, now: float, done: int) -> None:
        """Tell once, from measured steps, how long the whole training takes and when it will end."""
        if self._warm is None:
            self._warm = now, done
            return
        since, first = self._warm
        if self._is_estimated or done - first < MEASURED_STEPS:
            return
        self._is_estimated = True
        step_s = (now - since) / (done - first)
        end = datetime.now().astimezone() + timedelta(seconds=(self._steps - done) * step_s)
        logger.info(
            "%d steps took %.3g s each: all %d take %.3g hours in each process, the rest ends about %s",
            *(done - first, step_s, self._steps, self._steps * step_s / 3600, end.strftime("%Y-%m-%d %H:%M %Z")),
        )
