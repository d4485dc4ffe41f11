"""Which finished samples are to be done again, by an SQL expression over their rows."""

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
    """The columns of the manifest whose names stand in an expression."""
    words = {word.lower() for word in re.findall(r"\w+", expression or "")}
    return [name for name in MANIFEST_SCHEMA.names if name in words]


def check_selection(expression: str | None) -> None:
    """Try an expression on a manifest without rows, before anything is listed.

    Raises:
        ConfigError: the database does not understand it, or it is more than an expression.
    """
    if expression is None:
        return
    with _sentences(expression):
        statements = duckdb.extract_statements(_query(expression))
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise ConfigError(f"run.select={expression!r}: must be one expression that is true of some rows, no statement")
    with Database() as database:
        database.create("rows", MANIFEST_SCHEMA, [])
        select_rows(database, expression)


def select_rows(database: Database, expression: str | None) -> None:
    """Make the database's table ``selected``, of ids, from its table ``rows``; without an expression it is empty.

    The expression may read tables of the database and nothing else: it runs in a transaction that cannot write, in a
    database that opens no files but its own.

    Raises:
        ConfigError: an expression that the database does not understand, or that it cannot compute.
    """
    with _sentences(expression):
        found = database.stream(_query(expression), BATCH_ROWS, read_only=True) if expression else ()
        database.create("selected", _SELECTED, (batch for table in found for batch in table.to_batches()))


def _query(expression: str) -> str:
    return f"SELECT sample_id FROM rows WHERE (\n{expression}\n)"  # a line of its own, since it may end in a comment


@contextlib.contextmanager
def _sentences(expression: str | None) -> Iterator[None]:
    """Say what the database says, without its picture of the place."""
    try:
        yield
    except duckdb.Error as error:
        sentence = " ".join(re.split(r"\n\s*LINE \d+:", str(error))[0].split())
        raise ConfigError(f"run.select={expression!r}: {sentence}") from error
