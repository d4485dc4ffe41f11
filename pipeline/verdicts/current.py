"""The latest review of each current result, beside the rows of the manifest."""

import re

from pipeline.database import Database
from pipeline.storage.storage import Storage
from pipeline.verdicts.files import load_reviews

COLUMNS = {"verdict": "VARCHAR", "note": "VARCHAR", "reviewer": "VARCHAR", "reviewed_at": "TIMESTAMPTZ"}
RESULT_HASH = "output_sha256"  # column of the manifest that reviews refer to
LATEST = "reviewed_at DESC, imported_at DESC, key DESC"  # of several reviews


def names_reviews(expression: str | None) -> bool:
    """Return whether an SQL expression over rows names a column of reviews."""
    return not COLUMNS.keys().isdisjoint(re.findall(r"\w+", (expression or "").lower()))


def add_review_columns(sink: Storage | None, database: Database) -> None:
    """Add the columns ``COLUMNS`` to the table ``rows``, null where nobody has reviewed the row's present result.

    Args:
        sink: with reviews; ``None`` adds empty columns.
        database: with the table, which has ``sample_id`` and ``output_sha256``.
    """
    for name, kind in COLUMNS.items():
        database.run(f"ALTER TABLE rows ADD COLUMN {name} {kind}")
    if sink is not None and load_reviews(sink, database):
        database.run(_UPDATE)


_UPDATE = f"""
UPDATE rows SET {", ".join(f"{name} = latest.{name}" for name in COLUMNS)}
FROM (
    SELECT * FROM reviews WHERE verdict IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY sample_id, {RESULT_HASH} ORDER BY {LATEST}) = 1
) latest
WHERE rows.sample_id = latest.sample_id AND rows.{RESULT_HASH} = latest.{RESULT_HASH}"""
