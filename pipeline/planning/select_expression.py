"""Selects finished samples to reprocess, by an SQL expression over their rows."""

import contextlib
import re
from collections.abc import Iterator

import duckdb
import pyarrow as pa

from pipeline.database import BATCH_ROWS, Database
from pipeline.errors import ConfigError
from pipeline.records import MANIFEST_SCHEMA

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
    with _sentences(expression):
        statements = duckdb.extract_statements(_query(expression))
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise ConfigError(f"run.select={expression!r}: must be one expression over a row, not a statement")
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
    with _sentences(expression):
        found = database.stream(_query(expression), BATCH_ROWS, read_only=True) if expression else ()
        database.create("selected", _SELECTED, (batch for table in found for batch in table.to_batches()))


def _query(expression: str) -> str:
    return f"SELECT sample_id FROM rows WHERE (\n{expression}\n)"  # a line of its own, since it may end in a comment


@contextlib.contextmanager
def _sentences(expression: str | None) -> Iterator[None]:
    """Return the database's error message without the excerpt of the query."""
    try:
        yield
    except duckdb.Error as error:
        sentence = " ".join(re.split(r"\n\s*LINE \d+:", str(error))[0].split())
        raise ConfigError(f"run.select={expression!r}: {sentence}") from error
