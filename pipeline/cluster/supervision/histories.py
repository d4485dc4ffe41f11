"""State of the samples of a chunk: their histories, and the results of the current pass."""

import heapq
from collections import Counter
from collections.abc import Callable, Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.cluster.supervision.quarantine import Blamed, blame
from pipeline.faults.passes import DEATHS, History, Pass
from pipeline.faults.roster import Entries
from pipeline.records import OK, SAMPLE_SCHEMA
from pipeline.sources.inputs import Sample

KNOWN_GOOD = 3  # samples kept to test workers with: those that took the model the least time
SMALL = 4  # samples of a lost unit that are retried one by one
_DONE = 127


class Work:
    """Samples of a chunk with their histories.

    Args:
        samples: with the columns of ``SAMPLE_SCHEMA``.
        unit: number of samples in a unit of fresh ones.
    """

    def __init__(self, samples: pa.Table, unit: int) -> None:
        self.samples, self.unit = samples, unit
        self.names = samples["sample_id"].combine_chunks()
        self.progress = 0  # finished samples and changes of histories
        self.blamed: list[Blamed] = []
        self._histories = np.full(len(self.names), History.FRESH, np.int8)
        self._deaths: Counter[str] = Counter()
        self._good: list[tuple[float, int]] = []  # heap of (minus seconds in the model, position)
        self._missing = np.zeros(len(self.names), bool)
        self.productive: set[str] = set()
        self.reasons: dict[str, str] = {}
        self._deferred: list[pa.Table] = []
        self._returned: list[pa.Table] = []

    @property
    def unfinished(self) -> int:
        """Number of samples that are still to be done."""
        return int(np.count_nonzero(self._histories != _DONE))

    def next_history(self, stuck: Collection[History] = ()) -> History | None:
        """Return the history to process next, except ``stuck`` ones; ``None`` if there is no other."""
        found = set(np.unique(self._histories).tolist()) - {_DONE, *stuck}
        return History(min(found)) if found else None

    def begin_pass(self, history: History) -> pa.Table:
        """Start a pass over the samples of a history, and return them.

        During the pass, ``productive`` holds the workers that finished samples, and ``reasons`` why workers deferred
        samples.
        """
        self._missing = self._histories == history
        self.productive, self.reasons = set(), {}
        return self.samples_of(history)

    def samples_of(self, history: History) -> pa.Table:
        """Return the samples of a history."""
        return self.samples.filter(pa.array(self._histories == history))

    def finish(self, rows: pa.Table, commit: Callable[[pa.Table], None]) -> None:
        """Commit rows of finished samples; rows that Ray delivers twice are committed once."""
        if not rows.num_rows:
            return
        positions, first = np.unique(self._positions(rows), return_index=True)
        fresh = self._histories[positions] != _DONE
        self._histories[positions] = _DONE
        self._missing[positions] = False
        self.progress += int(np.count_nonzero(fresh))
        self.productive.update(rows["worker"].drop_null().to_pylist())
        rows = rows.take(pa.array(first[fresh]))
        self._keep_good(rows, positions[fresh])
        commit(rows)

    def defer(self, rows: pa.Table) -> None:
        """Queue samples that a worker deferred, for :meth:`apply_deferred`."""
        self._deferred.append(rows.select(["sample_id"]))
        columns = (rows[name].to_pylist() for name in ("worker", "error_type", "error_message"))
        for worker, kind, message in zip(*columns, strict=True):
            self.reasons[worker] = f"{kind}: {message}"

    def give_back(self, rows: pa.Table) -> None:
        """Queue samples that a leaving worker returned, for :meth:`apply_deferred`; their histories stay."""
        self._returned.append(rows.select(["sample_id"]))

    def apply_deferred(self) -> None:
        """Update the histories of queued samples; one look-up serves many, as its cost grows with the chunk."""
        if self._returned:
            self._missing[self._positions(pa.concat_tables(self._returned))] = False
            self._returned = []
        if not self._deferred:
            return
        positions = self._positions(pa.concat_tables(self._deferred))
        self._deferred = []
        positions = positions[self._histories[positions] != _DONE]
        self._missing[positions] = False
        fresh = positions[self._histories[positions] == History.FRESH]
        self._histories[fresh] = History.DEFERRED
        self.progress += len(np.unique(fresh))

    def mark_missing(self, this_pass: Pass, entries: Entries) -> None:
        """Mark samples of a pass that did not come back as lost: their worker died."""
        self.apply_deferred()
        missing = np.flatnonzero(self._missing)
        if not this_pass.isolated:
            in_small_units = this_pass.history < History.LOST and this_pass.unit_samples(self.unit) > SMALL
            self._histories[missing] = History.LOST if in_small_units else History.LOST_AGAIN
            self.progress += len(missing)
            return
        for position in missing:  # their deaths are known only where the roster answers
            name = self.names[position].as_py()
            deaths = entries.begun[name]
            self._deaths[name] += deaths
            self.progress += deaths
            if self._deaths[name] >= DEATHS:
                self._histories[position] = _DONE
                self.blamed.append((self._sample(int(position)), blame(self._deaths[name], name in entries.hung)))

    def known_good(self) -> tuple[Sample, ...]:
        """Return samples that succeeded, fastest first."""
        return tuple(self._sample(position) for _, position in sorted(self._good, reverse=True))

    def useless_nodes(self, this_pass: Pass, entries: Entries) -> dict[str, str]:
        """Return nodes on which no sample of a pass succeeded, with the reason; none if that holds for all nodes."""
        workers: dict[str, list[str]] = {}
        for worker, seat in entries.seats.items():
            workers.setdefault(seat.node_id, []).append(worker)
        useless: dict[str, str] = {}
        for node, names in workers.items():
            if not any(name in self.productive or name in entries.proven for name in names):
                reason = self._complaint(names, this_pass, entries)
                useless |= {node: reason} if reason else {}
        return useless if len(useless) < len(workers) else {}

    def _complaint(self, workers: Collection[str], this_pass: Pass, entries: Entries) -> str | None:
        for worker in workers:
            if worker in entries.troubles:
                return entries.troubles[worker].reason
            if worker in self.reasons:
                return self.reasons[worker]
        # All samples of a node may be ones that kill workers, unless its workers had to prove themselves before.
        return "its workers die" if this_pass.isolated and len(workers) > 1 else None

    def _positions(self, rows: pa.Table) -> np.ndarray:
        return pc.index_in(rows["sample_id"].combine_chunks(), self.names).to_numpy()

    def _sample(self, position: int) -> Sample:
        (sample,) = self.samples.slice(position, 1).select(SAMPLE_SCHEMA.names).to_pylist()
        return sample

    def _keep_good(self, rows: pa.Table, positions: np.ndarray) -> None:
        columns = (rows[name].to_pylist() for name in ("status", "inpaint_s"))
        for status, seconds, position in zip(*columns, positions.tolist(), strict=True):
            if status == OK:
                heapq.heappush(self._good, (-(seconds or 0.0), position))
                if len(self._good) > KNOWN_GOOD:
                    heapq.heappop(self._good)
