"""Time-outs of a job: faults of the environment, silent workers, and the start of the first worker."""

import logging
import time

from pipeline.cluster.supervision.histories import Work
from pipeline.cluster.supervision.staffing import Staffing
from pipeline.errors import JobError
from pipeline.faults.roster import Entries, RemoteRoster, Roster

QUIET_S = 1800.0  # loading weights, or waiting for a node of a busy cluster, may take that long

logger = logging.getLogger(__name__)


class Patience:
    """Reports each trouble of workers once, and ends a job that makes no progress.

    Args:
        roster: what workers report to.
        stall_s: maximum time without progress while workers meet only faults of their environment.
        actors: number of workers at the start.
        staffing: is told how many workers run.
        quiet_s: maximum time without progress for any reason.
    """

    def __init__(
        self,
        roster: Roster | RemoteRoster,
        stall_s: float,
        actors: int = 1,
        staffing: Staffing | None = None,
        quiet_s: float = QUIET_S,
    ) -> None:
        self.roster, self.stall_s, self.actors = roster, stall_s, actors
        self.staffing = staffing or Staffing()
        self.quiet_s = max(quiet_s, stall_s)
        self.reason = "none was told"
        self._moved_at = time.monotonic()  # when something last moved, or the first fault after that was met
        self._last_move = self._moved_at  # when something last moved
        self._steps: dict[str, int] = {}
        self._is_stalled = False
        self._said: set[str] = set()

    def note_done(self) -> None:
        """Record progress: a sample succeeded, or a worker finished a step."""
        self._moved_at = self._last_move = time.monotonic()
        self._is_stalled = False

    def note_fault(self, reason: str | None = None) -> None:
        """Record a fault of the environment without progress."""
        self.reason = reason or self.reason
        if not self._is_stalled:
            self._is_stalled, self._moved_at = True, time.monotonic()

    def check(self, work: Work) -> None:
        """Check that the job makes progress.

        Raises:
            JobError: there was none for too long.
        """
        now = time.monotonic()
        if self._is_stalled and now - self._moved_at > self.stall_s:
            raise self._end(work, f"nothing succeeded for limits.stall_s={self.stall_s:g}")
        if now - self._last_move > self.quiet_s:
            why = f"no worker has completed a step for {self.quiet_s:.0f} s. {self.staffing.shortage()}"
            raise self._end(work, why)

    def look_after_workers(self, work: Work, expected: int | None = None, units: int = 0) -> None:
        """Report troubles of workers, and check that some are alive and able to work.

        Args:
            work: their samples.
            expected: number of participating workers; by default the whole pool.
            units: number of units that the workers have been given in this pass.

        Raises:
            JobError: no worker can work, none has been alive for too long, or see :meth:`check`.
        """
        entries = self.roster.read()
        self.say_troubles(entries)
        has_work = entries.units_begun < units
        self.staffing.note(len(entries.alive), has_work)
        if has_work:  # else Ray Data has ended the workers that have none
            self._say_losses(entries)
        if any(steps > self._steps.get(worker, 0) for worker, steps in entries.steps.items()):
            self.note_done()
        self._steps = dict(entries.steps)
        lasting = [
            entries.troubles[worker].reason
            for worker in entries.alive
            if worker in entries.troubles and not entries.troubles[worker].may_pass
        ]
        if len(lasting) == len(entries.alive) >= (expected or self.actors) and not work.productive:
            self.reason = lasting[-1]
            raise self._end(work, "no worker can work")
        if self.stall_s < entries.silence_s < float("inf"):
            raise self._end(work, f"no worker has reported for {entries.silence_s:.0f} s. {self.staffing.shortage()}")
        self.check(work)

    def _say_losses(self, entries: Entries) -> None:
        for worker in entries.seats.keys() - entries.alive - entries.leaving:
            host = entries.seats[worker].host
            self.say(f"no sign of life from worker {worker} on {host}; what it had is tried again")

    def say_troubles(self, entries: Entries) -> None:
        """Log a warning for each worker that cannot work or leaves, once per host and reason."""
        hosts = {worker: seat.host for worker, seat in entries.seats.items()}
        for worker, trouble in entries.troubles.items():
            self.say(f"a worker on {hosts.get(worker, worker)} is paused: {trouble.reason}")
        for worker in entries.leaving:
            self.say(
                f"workers on {hosts.get(worker, worker)} leave: the node is being drained, or they received SIGTERM"
            )

    def say(self, line: str) -> None:
        """Log a warning, unless it was logged before."""
        if line not in self._said:
            self._said.add(line)
            logger.warning("%s", line)

    def _end(self, work: Work, why: str) -> JobError:
        return JobError(
            f"{work.unfinished} of {len(work.names)} samples are left: {why.rstrip('. ')}. "
            f"The last reason: {self.reason}. After fixing the cause, run the same command again to resume"
        )
