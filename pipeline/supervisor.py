"""Passes over samples until each has its row: who is at fault is decided here, from what workers return and report."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from ray.exceptions import RayActorError, RayError

from pipeline.inputs import Sample
from pipeline.passes import Pass
from pipeline.records import DEFERRED, HELD
from pipeline.roster import RemoteRoster, Roster
from pipeline.stream import by_clock
from pipeline.units import SMALL_UNITS, UnitBounds, make_units
from pipeline.work import KNOWN_GOOD, Blamed, Work

TICK_S = 2.0
FIRST_COMMIT_S, COMMIT_FRACTION = 2.0, 0.01  # a crash loses two seconds or one percent of the work
FIRST_WAIT_S, MAX_WAIT_S = 1.0, 30.0  # before another pass over samples of which none came through
SAY_START_S, START_S = 60.0, 1800.0  # without any worker: until the user is told, and until the job ends

logger = logging.getLogger(__name__)

# A list of samples a unit → rows of samples, done or still to be done; the units of workers that died are missing.
StartPass = Callable[[pa.ListArray, Pass], Iterable[pa.Table]]
Commit = Callable[[pa.Table, pa.Array], None]


class JobError(RuntimeError):
    """The job ended with samples that nothing is known about; the same command goes on with them."""


class Supervisor:
    """Does the legs of a job, one after the other.

    Args:
        start_pass: runs units through the cluster.
        roster: what workers report to.
        stall_s: how long nothing may come through while workers meet nothing but faults of their environment.
        actors: size of the pool.
        known_good: samples that earlier runs brought through.
        bounds: of a unit.
        shortage: says what the cluster lacks to start a worker.
    """

    def __init__(
        self,
        start_pass: StartPass,
        roster: Roster | RemoteRoster,
        stall_s: float,
        actors: int = 1,
        known_good: Sequence[Sample] = (),
        bounds: UnitBounds = SMALL_UNITS,
        shortage: Callable[[], str] = str,
    ) -> None:
        self.start_pass, self.roster, self.stall_s = start_pass, roster, stall_s
        self.actors, self.bounds, self.shortage = actors, bounds, shortage
        self.known_good = tuple(known_good)
        self._moved_at = time.monotonic()  # when a sample last came through, or the first fault after that was met
        self._is_stalled = False  # whether nothing but faults of the environment came since
        self._reason = "none was told"
        self._said: set[str] = set()

    def do(self, samples: pa.Table, commit: Commit) -> list[Blamed]:
        """Pass over the samples, then over what is left of them, until nothing is.

        Args:
            samples: what to do, with the columns of ``SAMPLE_SCHEMA``.
            commit: makes rows permanent; sees every sample once. Its second argument is their positions in ``samples``.

        Returns:
            Samples that killed proven workers when they were alone with them, and the faults that they fail with.

        Raises:
            JobError: nothing comes through, which is no sample's fault.
        """
        work = Work(
            samples, max(1, min(self.bounds.samples, -(-len(samples) // (self.actors * self.bounds.each_actor))))
        )
        avoided: frozenset[str] = frozenset()
        wait_s = FIRST_WAIT_S
        while (history := work.next_history()) is not None:
            this_pass = Pass(history, (*work.known_good(), *self.known_good)[:KNOWN_GOOD], avoided)
            before = work.progress
            avoided = self._run(this_pass, work, commit)
            if work.progress > before:
                wait_s = FIRST_WAIT_S
                continue
            self._is_stalled = True
            self._look_after_workers(work)
            logger.warning("nothing comes through, trying again in %.0f s: %s", wait_s, self._reason)
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, MAX_WAIT_S)
        self.known_good = (*work.known_good(), *self.known_good)[:KNOWN_GOOD]
        return work.blamed

    def _run(self, this_pass: Pass, work: Work, commit: Commit) -> frozenset[str]:
        """Do one pass, and return the nodes that the next one avoids."""
        self.roster.new_pass()
        samples = work.begin_pass(this_pass.history)
        units = make_units(samples, this_pass.unit_samples(work.unit), self.bounds.size_bytes)
        with _logged_deaths() as deaths:
            try:
                for rows in self._gathered(by_clock(self.start_pass(units, this_pass), TICK_S), work):
                    work.finish(rows, commit)
            except RayError as error:  # the flow as a whole: nothing is said about the samples that are left
                self._reason = _last_line(error)
                return this_pass.avoided
        if deaths:
            self._reason = _last_line(deaths[-1])
        entries = self.roster.read()
        work.settle_missing(this_pass, entries)
        useless = work.useless_nodes(this_pass, entries)
        for node, reason in useless.items():
            host = next(seat.host for seat in entries.seats.values() if seat.node_id == node)
            self._say(f"{host} is left out from now on: {reason}")
        is_known = useless or work.productive or entries.proven  # that the others work
        return this_pass.avoided | useless.keys() if is_known else frozenset()

    def _gathered(self, tables: Iterator[pa.Table | None], work: Work) -> Iterator[pa.Table]:
        """Collect rows for a commit: often at first, then less and less, so that a long run leaves few parts."""
        started = committed = time.monotonic()
        waiting: list[pa.Table] = []
        try:
            for table in tables:
                if table is None:
                    self._look_after_workers(work)
                elif (done := self._done(table, work)).num_rows:
                    waiting.append(done)
                now = time.monotonic()
                if waiting and now - committed >= max(FIRST_COMMIT_S, COMMIT_FRACTION * (now - started)):
                    yield pa.concat_tables(waiting)
                    waiting, committed = [], now
        except (RayError, JobError, KeyboardInterrupt):  # what is finished counts, whatever ended the flow
            if waiting:
                yield pa.concat_tables(waiting)
            raise
        if waiting:
            yield pa.concat_tables(waiting)

    def _done(self, table: pa.Table, work: Work) -> pa.Table:
        """Take note of samples that are still to be done, and return the rows of the others."""
        undone = pc.is_in(table["status"], pa.array([DEFERRED, HELD]))
        deferred, done = table.filter(undone), table.filter(pc.invert(undone))
        if done.num_rows:
            self._moved_at, self._is_stalled = time.monotonic(), False
        if deferred.num_rows:
            work.defer(deferred)
            kind, message, worker = (deferred[name][0].as_py() for name in ("error_type", "error_message", "worker"))
            self._reason = f"{kind}: {message} (worker {worker})"
            if not self._is_stalled and not done.num_rows:
                self._is_stalled, self._moved_at = True, time.monotonic()
            self._check_stall(work)
        return done

    def _look_after_workers(self, work: Work) -> None:
        """Say what troubles workers, and end a job whose workers cannot work or do not live."""
        entries = self.roster.read()
        for worker, trouble in entries.troubles.items():
            host = entries.seats[worker].host if worker in entries.seats else worker
            self._say(f"a worker on {host} does nothing for now: {trouble.reason}")
        lasting = [trouble.reason for trouble in entries.troubles.values() if not trouble.may_pass]
        if len(lasting) >= self.actors and not work.productive:
            self._reason = lasting[-1]
            raise self._failed(work, "no worker can work")
        if entries.silence_s == float("inf"):
            self._await_start(work)
        elif entries.silence_s > self.stall_s:
            raise self._failed(work, f"no worker has shown life for {entries.silence_s:.0f} s. {self.shortage()}")
        self._check_stall(work)

    def _await_start(self, work: Work) -> None:
        silent_s = time.monotonic() - self._moved_at
        if silent_s > SAY_START_S:
            self._say(f"no worker has started for {SAY_START_S:.0f} s, still waiting. {self.shortage()}")
        if silent_s > max(START_S, self.stall_s):
            raise self._failed(work, f"no worker has started for {silent_s:.0f} s. {self.shortage()}")

    def _check_stall(self, work: Work) -> None:
        if self._is_stalled and time.monotonic() - self._moved_at > self.stall_s:
            raise self._failed(work, f"nothing came through for limits.stall_s={self.stall_s:g}")

    def _failed(self, work: Work, why: str) -> JobError:
        return JobError(
            f"{work.left} of {len(work.names)} samples are left: {why.rstrip('. ')}. The last reason: {self._reason}. "
            "Once the cause is mended, the same command goes on"
        )

    def _say(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            logger.warning("%s", line)


@contextlib.contextmanager
def _logged_deaths() -> Iterator[list[BaseException]]:
    """Collect how workers died, which Ray Data says in its log alone; for messages, never to decide anything."""
    deaths: list[BaseException] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and isinstance(record.exc_info[1], RayActorError):
                deaths.append(record.exc_info[1])

    collector, ray_data = Collector(logging.ERROR), logging.getLogger("ray.data")
    ray_data.addHandler(collector)
    try:
        yield deaths
    finally:
        ray_data.removeHandler(collector)


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
