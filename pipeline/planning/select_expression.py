"""Selects and classifies finished samples by SQL expressions over their rows, as users write them."""

import re

import pyarrow as pa

from pipeline.database import BATCH_ROWS, Database
from pipeline.expressions import check_single, sentences
from pipeline.records import MANIFEST_SCHEMA
from pipeline.verdicts.current import RESULT_HASH, add_review_columns, names_reviews

SELECT_KEY = "run.select"
_SELECTED = pa.schema([MANIFEST_SCHEMA.field("sample_id")])
_CLASSIFIED = pa.schema([MANIFEST_SCHEMA.field("sample_id"), ("class", pa.string())])


def named_columns(expression: str | None) -> list[str]:
    """Return the columns of the manifest that an expression names, or needs for the columns of reviews."""
    words = {word.lower() for word in re.findall(r"\w+", expression or "")}
    if names_reviews(expression):
        words.add(RESULT_HASH)
    return [name for name in MANIFEST_SCHEMA.names if name in words]


def check_selection(expression: str | None, key: str = SELECT_KEY, classifies: bool = False) -> None:
    """Validate an expression on an empty manifest, before anything is listed.

    Args:
        expression: over a row; ``None`` is valid.
        key: of the configuration, or option of a command, that gives it.
        classifies: its value is a class, not a condition.

    Raises:
        ConfigError: it is invalid, or more than an expression.
    """
    if expression is None:
        return
    check_single(key, expression, _rows_where(expression))
    with Database() as database:
        database.create("rows", MANIFEST_SCHEMA, [])
        add_review_columns(None, database)
        (classify_rows if classifies else select_rows)(database, expression, key)


def select_rows(database: Database, expression: str | None, key: str = SELECT_KEY) -> None:
    """Create the table ``selected`` of ids from the table ``rows``; empty without an expression.

    The expression may read tables of the database and nothing else: it runs in a transaction that cannot write, in a
    database that opens no files but its own.

    Raises:
        ConfigError: the expression is invalid, or its evaluation fails.
    """
    with sentences(key, expression):
        found = database.stream(_rows_where(expression), BATCH_ROWS, read_only=True) if expression else ()
        database.create("selected", _SELECTED, (batch for table in found for batch in table.to_batches()))


def classify_rows(database: Database, expression: str, key: str) -> None:
    """Create the table ``classified`` of ids and the value of an expression as text; raises as ``select_rows`` does."""
    query = f'SELECT sample_id, CAST((\n{expression}\n) AS VARCHAR) AS "class" FROM rows'
    with sentences(key, expression):
        found = database.stream(query, BATCH_ROWS, read_only=True)
        database.create("classified", _CLASSIFIED, (batch for table in found for batch in table.to_batches()))


def _rows_where(expression: str) -> str:
    return f"SELECT sample_id FROM rows WHERE (\n{expression}\n)"  # a line of its own, since it may end in a comment
