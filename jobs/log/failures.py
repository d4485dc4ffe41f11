"""Logs failed samples, each with its id."""

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.records import FAILED

MAX_PER_KIND = 10  # samples logged one by one per error type; the manifest has all of them

logger = logging.getLogger(__name__)


class FailureLog:
    """Logs failed samples when their rows are committed, the first ``MAX_PER_KIND`` of each error type."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def update(self, rows: pa.Table) -> None:
        """Log the failed samples among newly committed rows."""
        failed = rows.filter(pc.equal(rows["status"], FAILED))
        for kind in failed["error_type"].unique().to_pylist():
            remaining = MAX_PER_KIND - self._counts[kind]
            of_kind = failed.filter(pc.equal(failed["error_type"], kind))
            self._counts[kind] += of_kind.num_rows
            for row in of_kind.slice(0, max(remaining, 0)).to_pylist():
                _log(row)
            if 0 <= remaining < of_kind.num_rows:
                logger.warning(
                    "more samples failed with %s; the manifest has them all", kind, extra={"error_type": kind}
                )


def _log(row: Mapping[str, Any]) -> None:
    fields = {name: row[name] for name in ("sample_id", "error_stage", "error_type", "worker")}
    # Escaped, so that it is one line whatever names and messages contain.
    name, message = (str(row[key]).encode("unicode_escape").decode() for key in ("sample_id", "error_message"))
    logger.warning("sample %s failed: %s, %s: %s", name, row["error_stage"], row["error_type"], message, extra=fields)
