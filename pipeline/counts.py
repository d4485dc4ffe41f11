"""Counts manifest rows by status, error and verification, for the log, run files and the report alike."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.records import FAILED

COLUMNS = ["status", "error_type", "residual", "tries", "metadata_note"]
LEFT = "left"  # of verified samples


@dataclass
class RowCounts:
    """Counts of some rows.

    Args:
        statuses: rows by status.
        errors: failed rows by error type.
        verified: verified rows by the try that was clean, such as ``clean at try 2``, or as ``left``.
        notes: rows by ``metadata_note``.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    verified: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, tables: Iterable[pa.Table], max_residual: float) -> "RowCounts":
        """Count the rows of tables with the ``COLUMNS``.

        Args:
            tables: of the manifest.
            max_residual: share of hole and border in which a clean result may show something.
        """
        counts = cls()
        for rows in tables:
            counts.statuses += _values(rows["status"])
            counts.errors += _values(rows.filter(pc.equal(rows["status"], FAILED))["error_type"])
            counts.notes += _values(rows["metadata_note"])
            is_left = pc.greater(rows["residual"], max_residual)
            counts.verified += Counter({LEFT: pc.sum(is_left).as_py() or 0})
            clean = _values(rows.filter(pc.invert(is_left))["tries"])
            counts.verified += Counter({f"clean at try {tries}": number for tries, number in clean.items()})
        return counts


def _values(column: pa.ChunkedArray) -> Counter:
    return Counter({each["values"]: each["counts"] for each in column.drop_null().value_counts().to_pylist()})
