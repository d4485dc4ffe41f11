"""An embedded database (DuckDB) in a temporary folder, for tables larger than memory."""

import contextlib
import fcntl
import gc
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import duckdb
import pyarrow as pa

PREFIX, LOCK = "moebius-database-", "in-use"  # of the temporary folder, and the file in it that its process locks
MEMORY = "1GB"  # beyond it, tables and joins go to the temporary folder
BATCH_ROWS = 50_000
_QUIET = "SET enable_progress_bar = false"
_CLOSED = "SET enable_external_access = false"  # no statement, whoever wrote it, opens other files or loads extensions
_READ_ONLY = "BEGIN TRANSACTION READ ONLY"


class Database:
    """A temporary database, deleted when the ``with`` block ends."""

    def __init__(self) -> None:
        _clear_leftovers()
        self._folder = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
        self.folder = self._folder.name
        self._lock = _locked(self.folder)
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": MEMORY,
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
        }
        self._connection = duckdb.connect(f"{self._folder.name}/database.duckdb", config=settings)
        self._connection.execute(_QUIET)
        self._connection.execute(_CLOSED)

    def __enter__(self) -> "Database":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._folder.cleanup()
        self._lock.close()

    def create(
        self, table: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch], query: str = "FROM incoming"
    ) -> None:
        """Create or replace a table from batches; exceptions of the iterable are re-raised.

        Args:
            table: its name.
            schema: of the batches.
            batches: of rows.
            query: what of the rows, as ``incoming``, the table holds; all by default.
        """
        failures: list[Exception] = []

        def watched() -> Iterator[pa.RecordBatch]:
            try:
                yield from batches
            except Exception as error:
                failures.append(error)  # DuckDB would replace it with text
                raise

        self._connection.register("incoming", pa.RecordBatchReader.from_batches(schema, watched()))
        try:
            with without_collector():
                self._connection.execute(f"CREATE OR REPLACE TABLE {table} AS {query}")
        except duckdb.Error:
            if failures:
                raise failures[0] from None
            raise
        finally:
            self._connection.unregister("incoming")

    def run(self, statement: str, parameters: dict[str, Any] | None = None) -> list[tuple]:
        """Execute SQL, with ``$name`` for parameters, and return all rows of a small result."""
        return self._connection.execute(statement, parameters or {}).fetchall()

    def drop(self, *tables: str) -> None:
        """Delete tables, unless they are not there; others use their room on the disk."""
        for table in tables:
            self._connection.execute(f"DROP TABLE IF EXISTS {table}")

    def stream(
        self, query: str, rows: int, parameters: dict[str, Any] | None = None, read_only: bool = False
    ) -> Iterator[pa.Table]:
        """Yield the result of a query, with ``$name`` for parameters, in tables of ``rows`` rows.

        Args:
            query: one statement.
            rows: of each table but the last.
            parameters: by name.
            read_only: forbid changes; for queries of users.
        """
        cursor = self._connection.cursor()  # other statements may run while the result is being read
        cursor.execute(_QUIET)
        if read_only:
            cursor.execute(_READ_ONLY)
        batches = cursor.sql(query, params=parameters).to_arrow_reader(min(rows, BATCH_ROWS))
        waiting: list[pa.RecordBatch] = []
        for batch in batches:
            waiting.append(batch)
            while sum(map(len, waiting)) >= rows:
                table = pa.Table.from_batches(waiting)
                yield table.slice(0, rows)
                waiting = table.slice(rows).to_batches()
        if sum(map(len, waiting)):
            yield pa.Table.from_batches(waiting)


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Disable the garbage collector: millions of rows have no cycles, and collecting takes half of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _locked(folder: str) -> IO[bytes]:
    """Lock a file that marks the folder as in use until it is closed or the process ends."""
    file = open(os.path.join(folder, "new"), "wb")  # noqa: SIM115 - closed with the database
    with contextlib.suppress(OSError):  # some network disks have no locks; there leftovers stay
        fcntl.flock(file, fcntl.LOCK_EX)
    os.rename(file.name, os.path.join(folder, LOCK))  # so that nobody ever finds it unlocked
    return file


def _clear_leftovers() -> None:
    """Delete folders of killed processes, including other containers that share the temporary folder."""
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError), lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)


def in_batches(
    rows: Iterable[Sequence[Any]], schema: pa.Schema, batch_rows: int = BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    """Convert tuples to record batches."""
    iterator = iter(rows)
    while chunk := list(islice(iterator, batch_rows)):
        columns = [pa.array(values, field.type) for values, field in zip(zip(*chunk, strict=True), schema, strict=True)]
        yield pa.record_batch(columns, schema=schema)
