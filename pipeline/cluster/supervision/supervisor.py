"""Runs passes over samples until each has its row, and decides who is at fault."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.cluster.supervision.histories import KNOWN_GOOD, Work
from pipeline.cluster.supervision.quarantine import Blamed
from pipeline.cluster.supervision.time_limits import Patience
from pipeline.cluster.supervision.timed_stream import by_clock
from pipeline.cluster.supervision.witness import Witness
from pipeline.errors import ExecutorError, JobError
from pipeline.faults.passes import History, Pass
from pipeline.records import RETURNED, UNDONE
from pipeline.sources.inputs import Sample
from pipeline.worker.units import SMALL_UNITS, UnitBounds, make_units

TICK_S = 2.0
FIRST_COMMIT_S, COMMIT_FRACTION = 2.0, 0.01  # a crash loses two seconds or one percent of the work
FIRST_WAIT_S, MAX_WAIT_S = 1.0, 30.0  # before another pass over samples of which none succeeded

logger = logging.getLogger(__name__)

# One list of samples per unit → rows, finished or deferred; units of workers that died are missing.
StartPass = Callable[[pa.ListArray, Pass], Iterable[pa.Table]]
Commit = Callable[[pa.Table], None]


class Supervisor:
    """Processes the chunks of a job one by one.

    Args:
        start_pass: runs units through the cluster.
        patience: how long to wait, and what workers report to.
        quarantine: makes failed rows of samples that killed proven workers with no other sample.
        known_good: samples that succeeded in earlier runs.
        bounds: of a unit.
        witness: checks samples itself where no worker can be tested.
    """

    def __init__(
        self,
        start_pass: StartPass,
        patience: Patience,
        quarantine: Callable[[Sequence[Blamed]], pa.Table],
        known_good: Sequence[Sample] = (),
        bounds: UnitBounds = SMALL_UNITS,
        witness: Witness | None = None,
    ) -> None:
        self.start_pass, self.patience, self.roster = start_pass, patience, patience.roster
        self.quarantine, self.known_good = quarantine, tuple(known_good)
        self.bounds, self.witness = bounds, witness or Witness()

    def do(self, samples: pa.Table, commit: Commit) -> None:
        """Run passes over the samples until none is unfinished.

        Args:
            samples: to process, with the columns of ``SAMPLE_SCHEMA``.
            commit: makes rows permanent; receives every sample once.

        Raises:
            JobError: no sample succeeds, for a reason that is no sample's fault.
        """
        spread = -(-len(samples) // self.bounds.count)
        work = Work(samples, max(1, min(self.bounds.samples, spread)))
        avoided: frozenset[str] = frozenset()
        wait_s, stuck = FIRST_WAIT_S, set[History]()
        while (history := work.next_history(stuck)) is not None:
            this_pass = Pass(history, self._known_good(history, work), avoided)
            before = work.progress
            avoided = self._run(this_pass, work, commit)
            if work.progress == before and history is History.DEFERRED and not this_pass.known_good:
                self._ask_witness(work, commit)
            if work.progress > before or avoided > this_pass.avoided:
                wait_s, stuck = FIRST_WAIT_S, set()
                continue
            stuck.add(history)
            if work.next_history(stuck) is None:
                self._wait(work, wait_s)
                wait_s, stuck = min(2 * wait_s, MAX_WAIT_S), set()
        self.known_good = (*work.known_good(), *self.known_good)[:KNOWN_GOOD]

    def _known_good(self, history: History, work: Work) -> tuple[Sample, ...]:
        """Return samples to test workers with; they may have been moved since."""
        known = (*work.known_good(), *self.known_good)[:KNOWN_GOOD]
        return () if history is History.FRESH else self.witness.readable(known)

    def _ask_witness(self, work: Work, commit: Commit) -> None:
        if (rows := self.witness.find_inaccessible(work.samples_of(History.DEFERRED))).num_rows:
            work.finish(rows, commit)
            self.patience.note_done()

    def _wait(self, work: Work, wait_s: float) -> None:
        self.patience.note_fault()
        self.patience.look_after_workers(work, expected=1)
        logger.warning("no sample succeeds, trying again in %.0f s: %s", wait_s, self.patience.reason)
        time.sleep(wait_s)

    def _run(self, this_pass: Pass, work: Work, commit: Commit) -> frozenset[str]:
        """Run one pass, and return the nodes that the next one avoids."""
        samples = work.begin_pass(this_pass.history)
        units = make_units(samples, this_pass.unit_samples(work.unit), self.bounds.size_bytes)
        try:
            number = self.roster.new_pass()
            flow = by_clock(self.start_pass(units, this_pass), TICK_S)
            for rows in self._gathered(flow, work, 0 if this_pass.avoided else len(units)):
                work.finish(rows, commit)
        except ExecutorError as error:
            self.patience.reason = str(error)
            work.apply_deferred()
            return this_pass.avoided
        except BaseException:
            self.roster.end()
            raise
        entries = self.roster.read()
        self.patience.reason = entries.death or self.patience.reason
        self.patience.say_troubles(entries)
        if entries.number != number:  # the roster does not answer
            work.apply_deferred()
            return this_pass.avoided
        work.mark_missing(this_pass, entries)
        if work.blamed:
            commit(self.quarantine(work.blamed))
            work.blamed = []
        useless = work.useless_nodes(this_pass, entries)
        for node, reason in useless.items():
            host = next(seat.host for seat in entries.seats.values() if seat.node_id == node)
            self.patience.say(f"{host} is excluded from now on: {reason}")
        is_known = useless or work.productive or entries.proven  # that the others work
        return this_pass.avoided | useless.keys() if is_known else frozenset()

    def _gathered(self, tables: Iterator[pa.Table | None], work: Work, units: int) -> Iterator[pa.Table]:
        """Collect rows for a commit, with growing intervals, so that a long run leaves few parts."""
        started = committed = looked = time.monotonic()
        waiting: list[pa.Table] = []
        try:
            for table in tables:
                if table is not None and (done := self._done(table, work)).num_rows:
                    waiting.append(done)
                now = time.monotonic()
                if now - looked >= TICK_S:
                    self.patience.look_after_workers(work, units=units)
                    looked = now
                if waiting and now - committed >= max(FIRST_COMMIT_S, COMMIT_FRACTION * (now - started)):
                    yield pa.concat_tables(waiting)
                    waiting, committed = [], now
        except (ExecutorError, JobError, KeyboardInterrupt):  # what is finished counts, whatever ended the flow
            if waiting:
                yield pa.concat_tables(waiting)
            raise
        if waiting:
            yield pa.concat_tables(waiting)

    def _done(self, table: pa.Table, work: Work) -> pa.Table:
        """Record deferred and returned samples, and return the rows of finished ones."""
        if pc.any(is_returned := pc.equal(table["status"], RETURNED)).as_py():
            work.give_back(table.filter(is_returned))
            table = table.filter(pc.invert(is_returned))
        undone = pc.is_in(table["status"], pa.array(UNDONE))
        deferred, done = table.filter(undone), table.filter(pc.invert(undone))
        if done.num_rows:
            self.patience.note_done()
        if deferred.num_rows:
            work.defer(deferred)
            kind, message, worker = (deferred[name][0].as_py() for name in ("error_type", "error_message", "worker"))
            if not done.num_rows:
                self.patience.note_fault(f"{kind}: {message} (worker {worker})")
            self.patience.check(work)
        return done
