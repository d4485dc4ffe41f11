"""Samples in rows of Parquet files: images as bytes, as Hugging Face's ``{bytes, path}``, or as uris."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ConfigError
from pipeline.sources.base import EVERYTHING, SampleRef, matching_files, name_fault
from pipeline.sources.left_out import LeftOut
from pipeline.sources.parquet.columns import (
    check_columns,
    check_json,
    check_keys,
    check_pictures,
    key_fault,
    key_values,
)
from pipeline.sources.parquet.headers import BrokenPageError
from pipeline.sources.parquet.pages import GuardedFile, LargePageError, chunks_of, is_in_column
from pipeline.sources.parquet.table_logs import refuse_inside_of_table, refuse_tables
from pipeline.sources.wanted import Wanted
from pipeline.storage.storage import Storage, StoredFile

SUFFIXES = (".parquet", ".parq", ".pq")
HIDDEN = (".", "_")  # as Hive and Spark name what is no data
BLOCK_BYTES = 1 << 20
KEY_ROWS = 10_000  # of the key column are read at once


class ParquetRows:
    """Rows of all Parquet files below a uri whose path matches a pattern; of partitioned data sets too."""

    def __init__(self, wanted: Wanted, storage: Storage) -> None:
        self.storage, self.pattern, self.key = storage, wanted.source.pattern, wanted.source.key
        self.columns, self.max_bytes = wanted_columns(wanted), wanted.max_bytes
        self.into_json = wanted.carried if wanted.carried_as_json else ()
        self.uri, self.options = wanted.source.uri, wanted.storage_options
        self.image = self.columns[0]
        self.pictures = [self.image, *filter(None, [wanted.mask.column])]

    def files(self, left_out: LeftOut | None = None) -> list[StoredFile]:
        """See :class:`pipeline.sources.base.Source`."""
        refuse_inside_of_table(self.uri, self.pattern, self.options)
        left_out, files = left_out or LeftOut(), list(matching_files(self.storage, self.pattern))
        parts = sorted(left_out.sift(files, lambda key: key.lower().endswith(SUFFIXES), HIDDEN))
        if not parts:
            there = left_out.there()
            raise ConfigError(f"no file ({', '.join(SUFFIXES)}) below {self.storage} matches {self.pattern!r}{there}")
        listed = files if self.pattern == EVERYTHING else self.storage.list_files()
        refuse_tables(self.storage, [part.key for part in parts], self.pattern, (file.key for file in listed))
        return parts

    def samples(self, files: Iterable[StoredFile]) -> Iterator[SampleRef]:
        """See :class:`pipeline.sources.base.Source`."""
        parts = list(files)
        for part, footer in zip(parts, self.storage.in_parallel(self._footer, parts), strict=True):
            yield from self._rows(part, footer)

    def _rows(self, part: StoredFile, footer: pq.FileMetaData | str | None) -> Iterator[SampleRef]:
        if footer is None:
            return
        if isinstance(footer, str):
            yield SampleRef(part.key, 0, part.version, part.key, fault=f"BrokenShard: {footer}")
        elif self.key:
            yield from self._with_keys(part, footer)
        else:
            size = self._row_bytes(footer)
            for row in range(footer.num_rows):
                yield SampleRef(f"{part.key}#{row}", size, part.version, part.key, [row], True)

    def _footer(self, part: StoredFile) -> pq.FileMetaData | str | None:
        """Return the footer of a file, the reason why it has none, or ``None`` if the file is no longer there."""
        try:
            with self.storage.open(part.key, BLOCK_BYTES) as file:
                footer = pq.read_metadata(file)
        except (pa.ArrowException, OverflowError) as error:
            return f"{part.key} is not a Parquet file: {str(error).splitlines()[0]}"
        except FileNotFoundError:
            return None
        if fault := row_count_fault(footer, part.size_bytes):
            return f"{part.key} {fault}"
        schema = footer.schema.to_arrow_schema()
        check_columns(schema, [*self.columns, *filter(None, [self.key])], part.key)
        for column in self.pictures:
            check_pictures(schema.field(column), part.key, may_be_list=column != self.image)
        if self.key:
            check_keys(schema.field(self.key), part.key)
        for column in self.into_json:
            check_json(schema.field(column), part.key)
        return footer

    def _with_keys(self, part: StoredFile, footer: pq.FileMetaData) -> Iterator[SampleRef]:
        size, row = self._row_bytes(footer), 0
        try:
            for key in self._keys(part, footer, self.key or ""):
                yield self._named(part, size, row, key)
                row += 1
        except (pa.ArrowException, BrokenPageError, LargePageError) as error:
            message = f"BrokenShard: {self.key} of {part.key} cannot be read beyond {row} rows: {error}"
            yield SampleRef(part.key, 0, part.version, part.key, fault=message)

    def _keys(self, part: StoredFile, footer: pq.FileMetaData, column: str) -> Iterator[Any]:
        """Yield the key of each row; rows that share a long one share its memory."""
        with self.storage.open(part.key, BLOCK_BYTES) as file:
            guarded = GuardedFile(file, self.max_bytes)
            parquet = open_parquet(guarded, [column])
            for group in range(footer.num_row_groups):
                guarded.watch(chunks_of(footer, group, [column]))
                for batch in parquet.iter_batches(KEY_ROWS, row_groups=[group], columns=[column]):
                    yield from key_values(batch.column(column))

    def _named(self, part: StoredFile, size: int, row: int, key: Any) -> SampleRef:
        """Return the sample of a row with its key as its name, or why the key cannot be one."""
        if unnamed := key_fault(key):
            fault = f"{unnamed[0]}: {self.key} {unnamed[1]} in row {row} of {part.key}"
            return SampleRef(f"{part.key}#{row}", size, part.version, part.key, [row], True, fault)
        name = key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else str(key)
        return SampleRef(name, size, part.version, part.key, [row], True, name_fault(name))

    def _row_bytes(self, footer: pq.FileMetaData) -> int:
        """Estimate the bytes of the image of one row; capped, since an average must not refuse a row."""
        return min(row_bytes(footer, self.image), self.max_bytes)


def wanted_columns(wanted: Wanted) -> list[str]:
    """Columns that a worker reads, the image's first."""
    mask = filter(None, [wanted.mask.column, wanted.mask.box_column])
    return list(dict.fromkeys([wanted.source.image or "image", *mask, *wanted.carried]))


def row_bytes(footer: pq.FileMetaData, column: str) -> int:
    """Estimate the bytes of the image of one row."""
    total = 0
    for group in (footer.row_group(index) for index in range(footer.num_row_groups)):
        chunks = (group.column(index) for index in range(group.num_columns))
        total += sum(chunk.total_compressed_size for chunk in chunks if is_in_column(chunk.path_in_schema, column))
    return total // max(footer.num_rows, 1)


def row_count_fault(footer: pq.FileMetaData, size_bytes: int) -> str | None:
    """Return why a file cannot have the rows that its footer announces: an image takes at least a byte."""
    groups = sum(footer.row_group(index).num_rows for index in range(footer.num_row_groups))
    if footer.num_rows != groups:
        return f"announces {footer.num_rows} rows, and {groups} in its row groups"
    if footer.num_rows > size_bytes:
        return f"announces {footer.num_rows} rows in {size_bytes} bytes"
    return None


def open_parquet(file: Any, dictionaries: Sequence[str] = ()) -> pq.ParquetFile:
    """Open a file whose columns are read piece by piece, so that a large row group needs no memory of its size.

    Args:
        file: that PyArrow can read from.
        dictionaries: columns of text or bytes whose equal values are kept once.
    """
    return pq.ParquetFile(
        file,
        read_dictionary=list(dictionaries),
        pre_buffer=False,
        buffer_size=BLOCK_BYTES,
        coerce_int96_timestamp_unit="us",  # in nanoseconds, the usual, years beyond 2262 become others unsaid
    )
