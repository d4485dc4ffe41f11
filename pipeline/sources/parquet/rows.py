"""Reads single rows of Parquet files in order, each in memory that ``limits.max_bytes`` bounds."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice

import pyarrow as pa

from pipeline.errors import SampleError
from pipeline.sources.arrow_values import plain_row, plain_schema
from pipeline.sources.inputs import too_many_bytes
from pipeline.sources.parquet.pages import GuardedFile, LargePageError, chunks_of
from pipeline.sources.parquet.source import BLOCK_BYTES, open_parquet
from pipeline.storage.storage import Storage

ROW_OVERHEAD_BYTES = 64  # of a value in Arrow: offsets and a bit for null


class RowCursor:
    """Reads rows of a file in order, of a few columns, one at a time: values of one page may be large, all the same.

    Args:
        storage: of the file.
        key: of the file.
        columns: to read.
        max_bytes: of a value.
    """

    def __init__(self, storage: Storage, key: str, columns: Sequence[str], max_bytes: int) -> None:
        self._key, self._columns, self._max_bytes = key, list(columns), max_bytes
        self._file = GuardedFile(storage.open(key, BLOCK_BYTES), max_bytes)
        self._parquet = open_parquet(self._file)
        footer, schema = self._parquet.metadata, self._parquet.schema_arrow
        self._schema = plain_schema(pa.schema([schema.field(name) for name in self._columns if name in schema.names]))
        sizes = (footer.row_group(index).num_rows for index in range(footer.num_row_groups))
        self._ends = list(accumulate(sizes, initial=0))  # of the row groups, and where the first starts
        self._refused: dict[int, SampleError] = {}
        self._group, self._next, self.position = -1, 0, 0
        self._rows: Iterator[pa.RecordBatch] = iter(())

    def row(self, number: int) -> pa.RecordBatch | SampleError:
        """Return a row that is not behind this cursor, or why it takes too much memory; groups before it are not read.

        Raises:
            pa.ArrowException, BrokenPageError: the file is damaged.
        """
        self.position, group = number + 1, bisect_right(self._ends, number) - 1
        if group in self._refused:
            return self._refused[group]
        try:
            row = self._row(group, number)
        except LargePageError as error:
            message = f"{self._key} cannot be read from row {number} to {self._ends[group + 1] - 1}: {error}"
            refusal = SampleError("read", "TooManyBytes", f"{message}, limits.max_bytes={self._max_bytes}")
            self._refused[group] = refusal
            return refusal
        largest_bytes = max(column.nbytes for column in row.columns) - ROW_OVERHEAD_BYTES
        return too_many_bytes(largest_bytes, self._max_bytes) or row

    def _row(self, group: int, number: int) -> pa.RecordBatch:
        if group != self._group:
            self._file.watch(chunks_of(self._parquet.metadata, group, self._columns))
            self._rows = self._parquet.iter_batches(1, row_groups=[group], columns=self._columns, use_threads=False)
            self._group, self._next = group, self._ends[group]
        row = next(islice(self._rows, number - self._next, None), None)
        if row is None:
            raise pa.ArrowInvalid(f"the row group has fewer than {self._ends[group + 1] - self._ends[group]} rows")
        self._next = number + 1
        return plain_row(row.select(self._columns), self._schema)  # PyArrow also reads a.b where a is wanted

    def close(self) -> None:
        """Close the file."""
        self._file.close()
