"""Retries writes of finished work while a storage accepts nothing, so that no work is repeated."""

import logging
import time
from collections.abc import Callable

from pipeline.faults.judge import HELD_NUMBERS
from pipeline.storage.errors import CredentialsError, is_refused_request

HELD_FRACTION = 0.2  # of limits.stall_s, by workers: another node may store what this one cannot
FIRST_PAUSE_S, MAX_PAUSE_S = 1.0, 10.0

logger = logging.getLogger(__name__)


class Hold:
    """Retries operations that a full, read-only or (if remote) silent storage refuses.

    After waiting for the whole limit without success, it does not wait again until the storage accepts something.
    Threads may share one.

    Args:
        limit_s: maximum time to wait.
        tell: called with a sentence when waiting begins, and with ``None`` when the storage accepts again.
    """

    def __init__(self, limit_s: float = 0.0, tell: Callable[[str | None], None] = lambda _: None) -> None:
        self.limit_s, self.tell = limit_s, tell
        self._is_waiting = self._has_given_up = False

    def retry(self, work: Callable[[], Exception | None], error: Exception | None, is_local: bool) -> Exception | None:
        """Retry work that has just failed until it succeeds or the limit is reached.

        Args:
            work: returns its error, if any.
            error: the error of the first attempt, if any.
            is_local: whether the storage is a disk.

        Returns:
            The last error, if any.
        """
        pause_s, deadline = FIRST_PAUSE_S, time.monotonic() + self.limit_s
        while error and _is_refusal(error, is_local) and not self._has_given_up:
            if not self._is_waiting:
                self._is_waiting = True
                self.tell(f"the storage accepts nothing; results are kept and retried: {error}")
            if time.monotonic() + pause_s > deadline:
                self._has_given_up = True
                break
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, MAX_PAUSE_S)
            error = work()
        if error is None and (self._is_waiting or self._has_given_up):
            self._is_waiting = self._has_given_up = False
            self.tell(None)
        return error


def tell_hold(reason: str | None) -> None:
    """Log when the driver begins to wait, and when it resumes."""
    logger.warning("%s", reason or "the storage accepts results again")


def _is_refusal(error: Exception, is_local: bool) -> bool:
    if not isinstance(error, OSError):
        return False
    if error.errno in HELD_NUMBERS:
        return True
    is_answer = isinstance(error, FileExistsError | FileNotFoundError | PermissionError | CredentialsError)
    is_answer = is_answer or is_refused_request(error)
    return not is_local and not is_answer
