"""The interface of sinks: results are stored one per file or in shards, below ``data/``."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from pipeline.records import Record
from pipeline.sources.inputs import NOTHING_CARRIED
from pipeline.storage.storage import Storage

FOLDER = "data"


@dataclass
class Outcome:
    """The outcome of one sample.

    Args:
        record: its row, to which the sink adds the result's location.
        result: the encoded image; ``None`` for a failed sample.
        carried: one row of columns that are stored with it in a shard.
    """

    record: Record
    result: bytes | None = None
    carried: pa.RecordBatch = field(default_factory=lambda: NOTHING_CARRIED)


class Sink(Protocol):
    """Stores results, and records their locations in their rows."""

    storage: Storage

    def store(self, outcomes: Iterable[Outcome]) -> float:
        """Store results as they arrive.

        Args:
            outcomes: in order; the iterator may block.

        Returns:
            Seconds spent, without the time of waiting for outcomes.
        """
