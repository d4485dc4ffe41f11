"""Figures and throughput of the runs behind a manifest."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.database import Database
from pipeline.storage.storage import Storage

MAX_RUNS = 20  # the newest
CHARTED_RUNS = 4  # by the number of their rows
MAX_BINS, MIN_BINS, ROWS_PER_BIN = 60, 5, 4  # of the time that a run took


@dataclass(frozen=True)
class RunFigures:
    """One run, from its rows and, if it exists, its summary.

    Args:
        rows: number of its rows in the manifest.
        began_at: when its first row was begun, seconds since 1970.
        rows_s: seconds from there to the end of its last row.
        summary: what ``runs/<run_id>.json`` says, empty without it.
    """

    run_id: str
    rows: int
    began_at: float | None
    rows_s: float | None
    summary: Mapping[str, Any]

    @property
    def samples_per_s(self) -> float | None:
        """Samples per second from its first row to the end of its last."""
        return self.rows / self.rows_s if self.rows_s else None

    @property
    def is_untrained(self) -> bool:
        """Whether its weights were an untrained stand-in."""
        return self.summary.get("weights", {}).get("trained") is False


def read_runs(sink: Storage, database: Database) -> list[RunFigures]:
    """Read the newest runs with rows in the table ``rows``."""
    found = database.run(
        f"""SELECT run_id, count(*), epoch(min(started_at)), max({_ENDED}) - epoch(min(started_at)) FROM rows
        WHERE run_id IS NOT NULL GROUP BY run_id ORDER BY min(started_at) DESC NULLS LAST, run_id LIMIT {MAX_RUNS}"""
    )
    return [RunFigures(run_id, rows, at, rows_s, _summary(sink, run_id)) for run_id, rows, at, rows_s in found]


def newest_summary(sink: Storage) -> dict[str, Any]:
    """Return the summary of the newest run, even if that has no rows; empty if there is no run."""
    keys = [file.key for file in sink.list_files("runs") if file.key.endswith(".json")]
    return _read(sink, max(keys)) if keys else {}


def _summary(sink: Storage, run_id: str) -> dict[str, Any]:
    return _read(sink, f"runs/{run_id}.json")


def _read(sink: Storage, key: str) -> dict[str, Any]:
    try:
        summary = json.loads(sink.read(key))
    except (OSError, ValueError):  # deleted, or by another hand
        return {}
    return summary if isinstance(summary, dict) else {}


def read_rates(database: Database) -> dict[str, list[tuple[float, float]]]:
    """Return the largest runs' throughput: (seconds since the first row, samples per second), without short runs."""
    found = database.run(_RATES)
    rates: dict[str, list[tuple[float, float]]] = {}
    for run_id, index, bin_s, count in found:
        line = rates.setdefault(run_id, [])
        line.extend(((missing + 0.5) * bin_s, 0.0) for missing in range(len(line), index))
        line.append(((index + 0.5) * bin_s, count / bin_s))
    return rates


# When a row was done, in seconds since 1970, as far as its own columns tell.
_ENDED = "(epoch(started_at) + coalesce(decode_s, 0) + coalesce(inpaint_s, 0) + coalesce(encode_s, 0))"

_RATES = f"""
WITH spans AS (
    SELECT run_id, epoch(min(started_at)) AS first, max({_ENDED}) - first AS span_s,
        least({MAX_BINS}, count(*) // {ROWS_PER_BIN}) AS bins
    FROM rows WHERE started_at IS NOT NULL AND run_id IS NOT NULL GROUP BY run_id
    HAVING bins >= {MIN_BINS} AND span_s > 0 ORDER BY count(*) DESC, run_id LIMIT {CHARTED_RUNS}
)
SELECT run_id, least(floor(({_ENDED} - first) / span_s * bins), bins - 1)::BIGINT, any_value(span_s / bins), count(*)
FROM rows JOIN spans USING (run_id) WHERE started_at IS NOT NULL GROUP BY ALL ORDER BY 1, 2"""
