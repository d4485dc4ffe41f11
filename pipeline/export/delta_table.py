"""``delta``: a table of Delta Lake."""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ConfigError
from pipeline.export.base import EXPORTED, MARK, Changes, Committed, State, TargetConflictError, foreign, refuse_columns
from pipeline.export.object_store import object_store_options
from pipeline.export.parquet_files import FOLDER, OWN_FILE, DataFile, kept_rows, write_files
from pipeline.extras import check_extra
from pipeline.storage.storage import Storage
from pipeline.uris import public_text

NAME = f"{MARK} export"  # of the tables that exports create; their description is the identity of the sink
READ_BYTES = 4 << 20  # of a file at once
_DELETION_VECTORS = "deletionVectors"


class DeltaTarget:
    """A table of Delta Lake; see :class:`pipeline.export.base.Target`.

    An export writes new files, and copies those with removed rows, before one commit that adds and removes files.
    """

    has_versions = True

    def __init__(self, uri: str, options: Mapping[str, Any]) -> None:
        check_extra("delta", "--format delta")
        self.storage = Storage(uri, options)
        # The engine takes a path for an escaped uri.
        self.uri = Path(self.storage.root).as_uri() if self.storage.is_local else uri
        self.options = object_store_options(options)
        self.table: Any = None

    def __enter__(self) -> "DeltaTarget":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def state(self) -> State | None:
        """Return the state of the earlier export."""
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        try:
            with _engine():
                self.table = DeltaTable(self.uri, storage_options=self.options)
        except TableNotFoundError:
            self._check_empty()
            return None
        about = self.table.metadata()
        if about.name != NAME:
            raise foreign(str(self.storage), "a table of Delta Lake that is no export")
        if _DELETION_VECTORS in (self.table.protocol().reader_features or ()):
            raise ConfigError(
                f"TARGET: {self.storage} has deletion vectors, which exports do not read; rewrite it first"
            )
        return State(about.description, pa.schema(self.table.schema().to_arrow()))

    def exported(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows of the earlier export."""
        for name in self._files():
            with self.storage.open(name, READ_BYTES) as file:
                for batch in pq.ParquetFile(file).iter_batches(columns=EXPORTED.names[:2]):
                    columns = [*batch.select(EXPORTED.names[:2]).columns, pa.repeat(name, len(batch))]
                    yield pa.record_batch(columns, schema=EXPORTED)

    def commit(self, changes: Changes) -> Committed:
        """Write files, then commit them."""
        from deltalake import Schema
        from deltalake.transaction import RemoveAction

        names = Counter(name.lower() for name in changes.schema.names)
        alike = [name for name in changes.schema.names if names[name.lower()] > 1]
        refuse_columns(alike, "Delta Lake does not tell capital letters from small ones")
        added: list[DataFile] = []
        actions: list[Any] = []
        if not changes.replaces_all:
            for name, dropped in changes.stale.files():
                with self.storage.open(name, READ_BYTES) as file:
                    added += write_files(kept_rows(file, dropped), changes.schema, self.storage.upload)
                actions.append(RemoveAction(name, True, _now_ms()))
        copied = sum(file.rows for file in added)
        added += write_files(changes.rows, changes.schema, self.storage.upload)
        actions += map(_add_action, added)
        schema = Schema.from_arrow(changes.schema)
        changes.check()
        with _engine():
            self._commit(changes, schema, actions)
        self.storage.clear_staging()
        return Committed(f"version {self.table.version()}", copied)

    def purge(self) -> None:
        """Delete the files of earlier versions, and those of killed exports; files of others stay."""
        if self.table is None:
            return
        with _engine():
            self.table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
            self.table.update_incremental()
        wanted = {*self._files()}
        for file in list(self.storage.list_files(FOLDER)):
            if OWN_FILE.fullmatch(file.key) and file.key not in wanted:
                self.storage.delete(file.key)

    def _commit(self, changes: Changes, schema: Any, actions: list[Any]) -> None:
        from deltalake import CommitProperties, DeltaTable, Transaction
        from deltalake.transaction import create_table_with_add_actions

        stamp = changes.stamp()
        # Of two exports at once, the second to commit finds that this transaction is not the next one any more.
        application = f"{MARK}:{stamp.sink}"
        last = self.table.transaction_version(application) if self.table is not None else None
        properties = CommitProperties(
            custom_metadata=stamp.as_properties(),
            max_commit_retries=0,
            app_transactions=[Transaction(application, 0 if last is None else last + 1)],
        )
        if self.table is None:
            create_table_with_add_actions(
                self.uri,
                schema,
                actions,
                name=NAME,
                description=stamp.sink,
                storage_options=self.options,
                commit_properties=properties,
            )
            self.table = DeltaTable(self.uri, storage_options=self.options)
            return
        mode = "overwrite" if changes.replaces_all else "append"
        self.table.create_write_transaction(actions, mode, schema, commit_properties=properties)
        self.table.update_incremental()

    def _files(self) -> list[str]:
        if self.table is None:
            return []
        names = pa.table(self.table.get_add_actions())["path"].to_pylist()
        if elsewhere := next((name for name in names if "://" in name or {"..", ""} & {*name.split("/")}), None):
            raise foreign(str(self.storage), f"a log that names a file elsewhere, {elsewhere}")
        return names

    def _check_empty(self) -> None:
        """Check that nothing but files of a killed export is there."""
        for file in self.storage.list_files():
            if not file.key.startswith(".") and not OWN_FILE.fullmatch(file.key):
                raise foreign(str(self.storage), f"{file.key}, but no table")


@contextlib.contextmanager
def _engine() -> Iterator[None]:
    """Raise errors of the engine as those of a target."""
    from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

    try:
        yield
    except TableNotFoundError:
        raise
    except CommitFailedError as error:
        raise TargetConflictError(public_text(f"another program has changed the table: {error}")) from error
    except DeltaError as error:
        raise OSError(public_text(str(error))) from error


def _add_action(file: DataFile) -> Any:
    from deltalake.transaction import AddAction

    return AddAction(file.name, file.size_bytes, {}, _now_ms(), True, json.dumps({"numRecords": file.rows}))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
