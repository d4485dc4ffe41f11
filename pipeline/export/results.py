"""Reads the results of rows to export, and the columns that they carry."""

import hashlib
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, starmap
from operator import itemgetter
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline.export.columns import IMAGE, carried_fields
from pipeline.export.plain_types import plain_value
from pipeline.sinks.shards import format_of
from pipeline.storage.storage import Storage

BATCH_ROWS, BATCH_BYTES = 5_000, 32 << 20  # of what is handed to a target at once
READ_BYTES = 1 << 20  # of a shard at once
DAMAGED = (FileNotFoundError, LookupError, ValueError, TypeError, tarfile.TarError, pa.ArrowException, EOFError)


class Stored(NamedTuple):
    """A result as it is in the sink.

    Args:
        image: encoded; ``None`` where it is not exported.
        carried: values by name.
    """

    image: bytes | None
    carried: Mapping[str, Any]


class ResultReader:
    """Reads results of rows, and counts those that cannot be read.

    Args:
        sink: of the rows.
        schema: of the exported rows.
    """

    def __init__(self, sink: Storage, schema: pa.Schema) -> None:
        self.sink, self.schema = sink, schema
        self.with_image = IMAGE in schema.names
        self.carried = carried_fields(schema)
        self.unread: list[str] = []
        self.reasons: Counter[str] = Counter()

    def batches(self, tables: Iterable[pa.Table]) -> Iterator[pa.RecordBatch]:
        """Yield exported rows in batches of bounded size.

        Args:
            tables: rows of the selection, ordered by their files.

        Raises:
            OSError: the storage does not answer.
        """
        if not self.with_image and not self.carried:
            yield from (
                batch for table in tables for batch in table.select(self.schema.names).cast(self.schema).to_batches()
            )
            return
        rows = (row for table in tables for row in table.to_pylist())
        waiting: list[dict[str, Any]] = []
        waiting_bytes = 0
        for row in filter(None, starmap(self._whole, self._stored(rows))):
            waiting.append(row)
            waiting_bytes += len(row.get(IMAGE, b""))
            if len(waiting) >= BATCH_ROWS or waiting_bytes >= BATCH_BYTES:
                batch = pa.RecordBatch.from_pylist(waiting, self.schema)
                waiting, waiting_bytes = [], 0
                yield batch
        if waiting:
            yield pa.RecordBatch.from_pylist(waiting, self.schema)

    def _stored(self, rows: Iterator[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], Stored | Exception]]:
        """Yield rows with their results, several files at once from remote storages."""
        for is_shard, group in groupby(rows, lambda row: row["output_member"] is not None):
            if is_shard:
                for uri, members in groupby(group, itemgetter("output_uri")):
                    yield from self._of_shard(uri, list(members))
            else:
                yield from self.sink.in_parallel(lambda row: (row, self._of_file(row)), group)

    def _of_file(self, row: Mapping[str, Any]) -> Stored | Exception:
        if not self.with_image:
            return Stored(None, {})
        try:
            return Stored(self.sink.read(self.sink.key(row["output_uri"])), {})
        except DAMAGED as error:
            return error

    def _of_shard(self, uri: str, rows: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], Stored | Exception]]:
        missing = {row["output_member"]: row for row in rows}
        fault: Exception = LookupError("the shard does not hold it")
        try:
            key = self.sink.key(uri)
            shard = format_of(key)
            with self.sink.open(key, READ_BYTES) as file:
                for member in shard.read(file, frozenset(missing), self.with_image):
                    image = shard.image_of(member) if self.with_image else None
                    carried = shard.carried_of(member) if self.carried else {}
                    yield missing.pop(member.name), Stored(image, carried)
        except DAMAGED as error:
            fault = error
        yield from ((row, fault) for row in missing.values())

    def _whole(self, row: dict[str, Any], stored: Stored | Exception) -> dict[str, Any] | None:
        """Return a row with its result; ``None``, and counted, if the result is missing or another."""
        values = self._values(row, stored)
        if isinstance(values, str):
            self.unread.append(row["sample_id"])
            self.reasons[values] += 1
            return None
        return {**row, **values}  # not the row itself, which lives as long as its table

    def _values(self, row: Mapping[str, Any], stored: Stored | Exception) -> dict[str, Any] | str:
        """Return the columns that a result adds to its row, or the reason why it has none."""
        if isinstance(stored, Exception):
            return "missing" if isinstance(stored, FileNotFoundError) else "damaged"
        if stored.image is not None and hashlib.sha256(stored.image).hexdigest() != row["output_sha256"]:
            return "damaged, or replaced since"
        try:
            values = {field.name: plain_value(stored.carried.get(field.name), field.type) for field in self.carried}
        except (ValueError, TypeError, pa.ArrowException):
            return "with carried values of other types"
        return values if stored.image is None else {**values, IMAGE: stored.image}
