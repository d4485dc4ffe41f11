"""Tells of failed samples in the job's log, each with its id."""

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.records import FAILED

MOST_OF_A_KIND = 10  # failed samples that are told of one by one; the manifest has all of them

logger = logging.getLogger(__name__)


class FailureLog:
    """Tells of failed samples as their rows are committed, of each kind the first few."""

    def __init__(self) -> None:
        self._told: Counter[str] = Counter()

    def update(self, rows: pa.Table) -> None:
        """Look at newly committed rows."""
        failed = rows.filter(pc.equal(rows["status"], FAILED))
        for kind in failed["error_type"].unique().to_pylist():
            left = MOST_OF_A_KIND - self._told[kind]
            of_kind = failed.filter(pc.equal(failed["error_type"], kind))
            self._told[kind] += of_kind.num_rows
            for row in of_kind.slice(0, max(left, 0)).to_pylist():
                _tell(row)
            if 0 <= left < of_kind.num_rows:
                logger.warning("more samples failed by %s; the manifest has them all", kind, extra={"error_type": kind})


def _tell(row: Mapping[str, Any]) -> None:
    said = {name: row[name] for name in ("sample_id", "error_stage", "error_type", "worker")}
    # One line, whatever is in names and messages.
    name, message = (str(row[key]).encode("unicode_escape").decode() for key in ("sample_id", "error_message"))
    logger.warning("sample %s failed: %s, %s: %s", name, row["error_stage"], row["error_type"], message, extra=said)
