"""Selects finished samples to reprocess, by an SQL expression over their rows."""

import re

import pyarrow as pa

from pipeline.database import BATCH_ROWS, Database
from pipeline.expressions import check_single, sentences
from pipeline.records import MANIFEST_SCHEMA

_KEY = "run.select"
_SELECTED = pa.schema([MANIFEST_SCHEMA.field("sample_id")])


def named_columns(expression: str | None) -> list[str]:
    """Return the columns of the manifest that an expression names."""
    words = {word.lower() for word in re.findall(r"\w+", expression or "")}
    return [name for name in MANIFEST_SCHEMA.names if name in words]


def check_selection(expression: str | None) -> None:
    """Validate an expression on an empty manifest, before anything is listed.

    Raises:
        ConfigError: it is invalid, or more than an expression.
    """
    if expression is None:
        return
    check_single(_KEY, expression, _query(expression))
    with Database() as database:
        database.create("rows", MANIFEST_SCHEMA, [])
        select_rows(database, expression)


def select_rows(database: Database, expression: str | None) -> None:
    """Create the table ``selected`` of ids from the table ``rows``; empty without an expression.

    The expression may read tables of the database and nothing else: it runs in a transaction that cannot write, in a
    database that opens no files but its own.

    Raises:
        ConfigError: the expression is invalid, or its evaluation fails.
    """
    with sentences(_KEY, expression):
        found = database.stream(_query(expression), BATCH_ROWS, read_only=True) if expression else ()
        database.create("selected", _SELECTED, (batch for table in found for batch in table.to_batches()))


def _query(expression: str) -> str:
    return f"SELECT sample_id FROM rows WHERE (\n{expression}\n)"  # a line of its own, since it may end in a comment
