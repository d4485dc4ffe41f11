"""Reads samples out of rows of Parquet files."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import pyarrow as pa

from pipeline.config import JobConfig
from pipeline.cursors import Cursors
from pipeline.errors import SampleError
from pipeline.inputs import Inputs, Sample, file_version, read_file, readable, too_many_bytes
from pipeline.parquet_source import BLOCK_BYTES, open_parquet, wanted_columns
from pipeline.storage import Storage
from pipeline.storage_errors import answering

BATCH_ROWS = 16  # of a file are decoded at once
STORAGES = 64  # that uris lead to are kept open

Row = Mapping[str, pa.Scalar]


class RowCursor:
    """Rows of a file in order, of a few columns."""

    def __init__(self, storage: Storage, key: str, columns: Sequence[str]) -> None:
        self._file = storage.open(key, BLOCK_BYTES)
        self._parquet, self._columns = open_parquet(self._file), list(columns)
        footer = self._parquet.metadata
        self._ends = [0]  # of the row groups, and where the first starts
        for index in range(footer.num_row_groups):
            self._ends.append(self._ends[-1] + footer.row_group(index).num_rows)
        self.position = 0
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._batch, self._batch_start = pa.RecordBatch.from_pylist([]), 0

    def row(self, number: int) -> Row:
        """A row that is not behind this cursor; row groups before it are not read."""
        if number >= self._batch_start + self._batch.num_rows:
            self._go_to(number)
        self.position = number
        at = number - self._batch_start
        return {name: self._batch.column(name)[at] for name in self._columns}

    def _go_to(self, number: int) -> None:
        group = next(index for index, end in enumerate(self._ends[1:]) if number < end)
        if self._batch.num_rows == 0 or self._ends[group] >= self._batch_start + self._batch.num_rows:
            groups = list(range(group, len(self._ends) - 1))
            self._batches = self._parquet.iter_batches(BATCH_ROWS, row_groups=groups, columns=self._columns)
            self._batch_start, self._batch = self._ends[group], self._batch.slice(0, 0)
        while number >= self._batch_start + self._batch.num_rows:
            self._batch_start += self._batch.num_rows
            self._batch = next(self._batches)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class ParquetReader:
    """See :class:`pipeline.inputs.FormatReader`; the place of a sample is the number of its row."""

    def __init__(self, config: JobConfig, storage: Storage) -> None:
        self.storage, self.carried = storage, config.sink.carry
        self.columns = wanted_columns(config)
        self.mask_kind, self.mask = config.mask.kind, config.mask.column or ""
        self._cursors = Cursors(storage, lambda key: RowCursor(storage, key, self.columns))
        self._scheme = config.source.uri.partition("://")[0]
        self._open = lru_cache(STORAGES)(self._open_storage)
        self._options, self.max_bytes = config.storage, config.limits.max_bytes

    def read_all(self, samples: Sequence[Sample]) -> Iterator[Inputs | Exception]:
        """See :class:`pipeline.inputs.FormatReader`."""
        return self.storage.in_parallel(self._inputs, [(sample, self._row(sample)) for sample in samples])

    def _open_storage(self, uri: str) -> Storage:
        """Another place that a uri leads to; one of another kind gets none of the source's credentials."""
        return Storage(uri, self._options if uri.startswith(f"{self._scheme}://") else {})

    def _row(self, sample: Sample) -> Row | Exception:
        key, (number,) = sample["file"], sample["place"]
        try:
            with answering():
                try:
                    with self._cursors.at(key, file_version(sample), number) as cursor:
                        return cursor.row(number)
                except pa.ArrowException as error:
                    raise SampleError(
                        "read", "BrokenShard", f"{key} cannot be read at row {number}: {error}"
                    ) from error
        except Exception as error:  # noqa: BLE001 - raised where its sample is dealt with
            return error

    def _inputs(self, found: tuple[Sample, Row | Exception]) -> Inputs | Exception:
        sample, row = found
        if isinstance(row, Exception):
            return row
        try:
            carried = {name: row[name] for name in self.carried}
            return Inputs(self._content("read", row[self.columns[0]].as_py(), sample), self._mask(row, sample), carried)
        except Exception as error:  # noqa: BLE001 - raised where its sample is dealt with
            return error

    def _mask(self, row: Row, sample: Sample) -> bytes:
        if self.mask_kind == "column":
            return self._content("mask", row[self.mask].as_py(), sample)
        if self.mask_kind == "boxes" and self.mask:
            boxes = row[self.mask].as_py()
            if boxes is None:
                raise SampleError("mask", "MissingMask", f"{self.mask} is null for {sample['sample_id']}")
            return json.dumps([{"boxes": boxes}]).encode()
        return b""

    def _content(self, stage: str, value: Any, sample: Sample) -> bytes:
        """The bytes of an image or a mask, or what its uri leads to."""
        if isinstance(value, Mapping):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes):
            return value
        if not value:
            kind, what = ("MissingImage", self.columns[0]) if stage == "read" else ("MissingMask", self.mask)
            raise SampleError(stage, kind, f"{what} is null for {sample['sample_id']}")
        if self.storage.is_local:  # from elsewhere, no uri leads to the disks of a worker
            value = value.removeprefix("file://")
        folder, _, name = value.rpartition("/")
        if "://" in value and "::" in value:  # such as simplecache::file:///etc, which would get around that
            raise SampleError(stage, "UnusableName", f"{value!r} is a chain of file systems, which are not taken")
        if "://" in value and not value.startswith(("file:", "local:")):
            return self._fetch(stage, self._open(folder), name)
        if os.path.isabs(value) and self.storage.is_local:
            return self._fetch(stage, self._open(folder), name)
        return self._fetch(stage, self.storage, value)  # which refuses what is not below it

    def _fetch(self, stage: str, storage: Storage, key: str) -> bytes:
        """What lies behind a uri, of which no plan knows the size."""
        with readable(stage, storage, key):
            size_bytes = storage.stat(key).size_bytes
        if refusal := too_many_bytes(size_bytes, self.max_bytes):
            raise refusal
        return read_file(stage, storage, key, None, size_bytes=size_bytes)
