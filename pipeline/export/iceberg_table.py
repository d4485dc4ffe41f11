"""``iceberg``: a table of an Iceberg catalog."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.export.base import EXPORTED, MARK, Changes, Committed, State, TargetConflictError, foreign
from pipeline.export.iceberg_purge import purge_snapshots
from pipeline.export.plain_types import plain_schema
from pipeline.extras import check_extra
from pipeline.uris import public_text

SCHEME = "iceberg://"
FILE_BYTES = 128 << 20  # of rows in memory, since pyiceberg collects those of a file, and reads a file whole to copy it
_SINK = f"{MARK}.sink"  # a property of the tables that exports create


class IcebergTarget:
    """A table of an Iceberg catalog, ``iceberg://CATALOG/NAMESPACE/TABLE``; see :class:`pipeline.export.base.Target`.

    Deletions, which copy the kept rows of the files that they touch, and new rows are committed in one transaction.

    Args:
        uri: catalog, namespace and table.
        options: properties of the catalog, added to those that pyiceberg finds in its configuration and environment.
    """

    has_versions = True

    def __init__(self, uri: str, options: Mapping[str, Any]) -> None:
        check_extra("iceberg", "--format iceberg")
        catalog, *self.name = uri.removeprefix(SCHEME).split("/")
        if not uri.startswith(SCHEME) or len(self.name) < 2 or not all((catalog, *self.name)):
            raise ConfigError(f"TARGET of an Iceberg table must be {SCHEME}CATALOG/NAMESPACE/TABLE, got {uri!r}")
        self.title = f"{SCHEME}{catalog}/{'/'.join(self.name)}"
        self.catalog = _load_catalog(catalog, options)
        self.table: Any = None

    def __enter__(self) -> "IcebergTarget":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(AttributeError):  # not all catalogs hold connections
            self.catalog.close()

    def state(self) -> State | None:
        """Return the state of the earlier export."""
        from pyiceberg.exceptions import NoSuchTableError

        try:
            with _engine(NoSuchTableError):
                self.table = self.catalog.load_table(tuple(self.name))
        except NoSuchTableError:
            return None
        if _SINK not in self.table.properties:
            raise foreign(self.title, "a table that is no export")
        return State(self.table.properties[_SINK], plain_schema([self.table.schema().as_arrow()]))

    def exported(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows of the earlier export, as if they were in one file."""
        with _engine():
            reader = self.table.scan(selected_fields=tuple(EXPORTED.names[:2])).to_arrow_batch_reader()
            for batch in reader:
                columns = [batch[name].cast(pa.string()) for name in EXPORTED.names[:2]]
                yield pa.record_batch([*columns, pa.repeat(self.title, len(batch))], schema=EXPORTED)

    def commit(self, changes: Changes) -> Committed:
        """Write files, and commit them in one transaction."""
        rows = pa.RecordBatchReader.from_batches(changes.schema, changes.rows)
        before = {snapshot.snapshot_id for snapshot in self.table.snapshots()} if self.table is not None else set()
        with _engine():
            transaction = self._transaction(changes)
            if self.table is not None:
                self._delete(transaction, changes)
            transaction.append(rows)
            transaction.set_properties(changes.stamp().as_properties())
            changes.check()
            transaction.commit_transaction()
            self.table = self.catalog.load_table(tuple(self.name))
        copied = sum(_copied(one) for one in self.table.snapshots() if one.snapshot_id not in before)
        return Committed(f"snapshot {self.table.current_snapshot().snapshot_id}", copied)

    def purge(self) -> None:
        """Delete earlier snapshots, and the files that only they name."""
        if self.table is not None:
            with _engine():
                purge_snapshots(self.table)

    def _transaction(self, changes: Changes) -> Any:
        if self.table is not None:
            return self.table.transaction()
        self.catalog.create_namespace_if_not_exists(tuple(self.name[:-1]))
        properties = {"write.target-file-size-bytes": str(FILE_BYTES), "write.parquet.compression-codec": "zstd"}
        return self.catalog.create_table_transaction(tuple(self.name), schema=changes.schema, properties=properties)

    def _delete(self, transaction: Any, changes: Changes) -> None:
        from pyiceberg.expressions import AlwaysTrue, In

        if not changes.replaces_all:
            for _, ids in changes.stale.files():
                transaction.delete(In("sample_id", ids))
            return
        transaction.delete(AlwaysTrue())
        now = plain_schema([self.table.schema().as_arrow()])
        wanted = {(field.name, field.type) for field in changes.schema}
        with transaction.update_schema(allow_incompatible_changes=True) as update:
            for field in now:
                if (field.name, field.type) not in wanted:
                    update.delete_column(field.name)
        with transaction.update_schema() as update:
            update.union_by_name(changes.schema)


def _load_catalog(name: str, options: Mapping[str, Any]) -> Any:
    from pyiceberg.catalog import load_catalog
    from pyiceberg.exceptions import NotInstalledError

    try:
        with _engine(NotInstalledError):
            return load_catalog(name, **{key: str(value) for key, value in options.items()})
    except NotInstalledError as error:
        raise ConfigError(f"the Iceberg catalog {name!r} needs a package: {error}") from error
    except (ValueError, ImportError) as error:  # whose text may hold all properties
        raise ConfigError(
            f"cannot open the Iceberg catalog {name!r}: {type(error).__name__}; give its properties by "
            "--target-storage key=value (such as uri and warehouse), or in .pyiceberg.yaml"
        ) from error


@contextlib.contextmanager
def _engine(*expected: type[Exception]) -> Iterator[None]:
    """Raise errors of catalogs as those of a storage, without their texts, which may hold secrets.

    Args:
        expected: errors that the caller handles.
    """
    from pyiceberg.exceptions import CommitFailedException, ValidationException

    try:
        yield
    except expected:
        raise
    except (CommitFailedException, ValidationException) as error:
        raise TargetConflictError(public_text(f"another program has changed the table: {error}")) from error
    except Exception as error:
        if not type(error).__module__.startswith(("pyiceberg.", "sqlalchemy.")):
            raise
        raise OSError(f"the Iceberg catalog does not answer as expected: {type(error).__name__}") from error


def _copied(snapshot: Any) -> int:
    from pyiceberg.table.snapshots import Operation

    if snapshot.summary is None or snapshot.summary.operation != Operation.OVERWRITE:
        return 0
    return int(snapshot.summary.get("added-records", 0))
