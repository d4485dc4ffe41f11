"""Chooses the samples of the gallery."""

from typing import Any

from pipeline.database import Database
from pipeline.records import FAILED, OK, UNCHANGED


def choose_samples(database: Database, count: int) -> list[dict[str, Any]]:
    """Choose rows: residuals, the worst seams, a cross-section of results, failures of each class, and a few unchanged.

    Args:
        database: with the table ``rows``.
        count: maximum number of rows.
    """
    failed, unchanged = count // 4, min(2, count // 8)
    rows = _rows(database, _FAILURES, failed)
    rows += _rows(database, f"SELECT rowid AS id, sample_id AS nth FROM rows WHERE status = '{UNCHANGED}'", unchanged)
    results = count - len(rows)
    ((total,),) = database.run(f"SELECT count(*) FROM rows WHERE status = '{OK}'")
    worst = min(total, results - results // 3)
    others = min(total - worst, results - worst)
    ranks = [worst + round((number + 0.5) * (total - worst) / others - 0.5) for number in range(others)]
    chosen = ", ".join(map(str, [*range(worst), *ranks])) or "-1"
    return _rows(database, f"SELECT id, nth FROM ({_RANKED}) WHERE nth IN ({chosen})", results) + rows


def _rows(database: Database, ranked: str, count: int) -> list[dict[str, Any]]:
    query = f"""SELECT rows.* EXCLUDE (part, position)
        FROM rows JOIN (SELECT * FROM ({ranked}) ORDER BY nth LIMIT {count}) chosen ON rows.rowid = chosen.id
        ORDER BY nth"""
    return [row for table in database.stream(query, max(count, 1)) for row in table.to_pylist()]


# Results in which something is left, suspicious fills, then from the worst seam to the best.
_RANKED = f"""
SELECT rowid AS id,
    row_number() OVER (
        ORDER BY coalesce(residual, 0) DESC, suspicious NULLS LAST, seam_score DESC NULLS LAST, sample_id
    ) - 1 AS nth
FROM rows WHERE status = '{OK}'"""

# The first of each class, then the second of each, and so on.
_FAILURES = f"""
SELECT rowid AS id, row_number() OVER (PARTITION BY error_stage, error_type ORDER BY sample_id) AS nth
FROM rows WHERE status = '{FAILED}'"""
