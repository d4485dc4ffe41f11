"""``lance``: a Lance data set."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.export.base import EXPORTED, MARK, Changes, Committed, State, TargetConflictError, foreign, refuse_columns
from pipeline.export.object_store import object_store_options
from pipeline.export.parquet_files import FILE_BYTES
from pipeline.extras import check_extra
from pipeline.storage.storage import Storage
from pipeline.uris import public_text

_SINK = f"{MARK}.sink".encode()  # in the metadata of the schema
_REMAIN = re.compile(r"data/[^/]+\.lance|_transactions/[^/]+\.txn|\..*")  # what a killed first export may leave
_FRAGMENT_BITS = 32  # of the address of a row; the others are its place in the fragment
READ_ROWS = 50_000


class LanceTarget:
    """A Lance data set; see :class:`pipeline.export.base.Target`.

    An export writes fragments of new rows and lists of deleted ones, before one commit that names both. No kept row is
    written again.
    """

    has_versions = True

    def __init__(self, uri: str, options: Mapping[str, Any]) -> None:
        check_extra("lance", "--format lance")
        self.storage = Storage(uri, options)
        self.uri, self.options = uri, object_store_options(options)
        self.dataset: Any = None

    def __enter__(self) -> "LanceTarget":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def state(self) -> State | None:
        """Return the state of the earlier export."""
        if not any(self.storage.list_files("_versions")):
            names = (file.key for file in self.storage.list_files())
            if other := next((name for name in names if not _REMAIN.fullmatch(name)), None):
                raise foreign(str(self.storage), f"{other}, but no Lance data set")
            return None
        self.dataset = self._open()
        metadata = self.dataset.schema.metadata or {}
        if _SINK not in metadata:
            raise foreign(str(self.storage), "a Lance data set that is no export")
        return State(metadata[_SINK].decode(), self.dataset.schema.remove_metadata())

    def exported(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows of the earlier export; their file is the number of a fragment."""
        scanner = self.dataset.scanner(EXPORTED.names[:2], with_row_address=True, batch_size=READ_ROWS)
        for batch in scanner.to_batches():
            fragments = pc.shift_right(batch["_rowaddr"], pa.scalar(_FRAGMENT_BITS, pa.uint64())).cast(pa.string())
            yield pa.record_batch([*batch.select(EXPORTED.names[:2]).columns, fragments], schema=EXPORTED)

    def commit(self, changes: Changes) -> Committed:
        """Write fragments and deletions, then commit them."""
        from lance import LanceDataset, LanceOperation, Transaction

        refuse_columns([name for name in changes.schema.names if "." in name], "Lance takes a dot for a nested column")
        schema = changes.schema.with_metadata({_SINK: changes.sink.encode()})
        with _engine():
            removed, updated = self._deleted(changes)
            added = self._write(changes, schema)
            operation: Any
            if changes.replaces_all:
                operation = LanceOperation.Overwrite(schema, added)
            else:
                operation = LanceOperation.Update(
                    removed_fragment_ids=removed, updated_fragments=updated, new_fragments=added
                )
            version = self.dataset.version if self.dataset is not None else 0
            properties = changes.stamp().as_properties()
            changes.check()
            self._check_version(version)
            self.dataset = LanceDataset.commit(
                self.uri if self.dataset is None else self.dataset,
                Transaction(version, operation, transaction_properties=properties),
                storage_options=self.options,
            )
        return Committed(f"version {self.dataset.version}", 0)

    def purge(self) -> None:
        """Write fragments with deleted rows anew without them, and delete earlier versions."""
        if self.dataset is None:
            return
        with _engine():
            self.dataset.optimize.compact_files(materialize_deletions=True, materialize_deletions_threshold=0.0)
            self._open().cleanup_old_versions(older_than=timedelta(0), delete_unverified=True)

    def _open(self) -> Any:
        import lance

        with _engine():
            return lance.dataset(self.uri, storage_options=self.options)

    def _write(self, changes: Changes, schema: pa.Schema) -> list[Any]:
        from lance.fragment import write_fragments

        rows = (batch.replace_schema_metadata(schema.metadata) for batch in changes.rows)
        return write_fragments(
            pa.RecordBatchReader.from_batches(schema, rows),
            self.uri if self.dataset is None else self.dataset,
            schema=schema,
            mode="create" if self.dataset is None else "overwrite" if changes.replaces_all else "append",
            max_bytes_per_file=FILE_BYTES,
            storage_options=self.options,
        )

    def _deleted(self, changes: Changes) -> tuple[list[int], list[Any]]:
        """Return the numbers of fragments that lose all rows, and the fragments that lose some."""
        removed: list[int] = []
        updated: list[Any] = []
        for name, ids in () if changes.replaces_all else changes.stale.files():
            left = self.dataset.get_fragment(int(name)).delete(f"sample_id IN ({_sql_texts(ids)})")
            if left is None:
                removed.append(int(name))
            else:
                updated.append(left)
        return removed, updated

    def _check_version(self, version: int) -> None:
        """Check that nobody has committed since; who does so at this very moment adds rows twice.

        The next export removes such rows.
        """
        if self.dataset is not None and self._open().version != version:
            raise TargetConflictError(f"another program has changed {self.storage}; run the command again")


def _sql_texts(texts: Sequence[str]) -> str:
    return ", ".join("'" + text.replace("'", "''") + "'" for text in texts)


@contextlib.contextmanager
def _engine() -> Iterator[None]:
    """Raise errors of the engine as those of a storage, without secrets."""
    try:
        yield
    except TargetConflictError:
        raise
    except OSError as error:
        raise OSError(public_text(str(error))) from error
