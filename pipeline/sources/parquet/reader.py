"""Reads samples out of rows of Parquet files."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import pyarrow as pa

from pipeline.errors import SampleError
from pipeline.sources.cursors import Cursors
from pipeline.sources.inputs import Inputs, MaskPart, Sample, file_version, too_many_bytes
from pipeline.sources.linked import LinkedFiles
from pipeline.sources.parquet.columns import is_list
from pipeline.sources.parquet.headers import BrokenPageError
from pipeline.sources.parquet.rows import RowCursor
from pipeline.sources.parquet.source import wanted_columns
from pipeline.sources.wanted import Wanted
from pipeline.storage.errors import answering
from pipeline.storage.storage import Storage

READ_AHEAD_BYTES = 16 << 20  # of rows, while the uris in them are fetched
MISSING_MASK = "MissingMask"
BOXES_AS_TEXT = 8  # times as many bytes as in Arrow, about


class ParquetReader:
    """See :class:`pipeline.sources.inputs.FormatReader`; a sample's locator is its row number."""

    def __init__(self, wanted: Wanted, storage: Storage) -> None:
        self.storage, self.carried = storage, wanted.carried
        self.columns = wanted_columns(wanted)
        self.place, self._mask_may_miss = wanted.mask, wanted.mask_may_miss
        self._cursors = Cursors(storage, lambda key: RowCursor(storage, key, self.columns, self.max_bytes))
        self._linked, self.max_bytes = LinkedFiles(wanted, storage), wanted.max_bytes

    def read_all(self, samples: Sequence[Sample]) -> Iterator[Inputs | Exception]:
        """See :class:`pipeline.sources.inputs.FormatReader`."""
        for rows in self._rows(samples):
            yield from self.storage.in_parallel(self._inputs, rows)

    def _rows(self, samples: Sequence[Sample]) -> Iterator[list[tuple[Sample, pa.RecordBatch | Exception]]]:
        """Samples with their rows, in groups that do not take much memory, unless one row does."""
        group, size_bytes = [], 0
        for sample in samples:
            row = self._row(sample)
            group.append((sample, row))
            size_bytes += row.nbytes if isinstance(row, pa.RecordBatch) else 0
            if size_bytes >= READ_AHEAD_BYTES:
                yield group
                group, size_bytes = [], 0
        yield group

    def _row(self, sample: Sample) -> pa.RecordBatch | Exception:
        key, (number,) = sample["file"], sample["locator"]
        try:
            with answering():
                try:
                    with self._cursors.at(key, file_version(sample), number) as cursor:
                        return cursor.row(number)
                except (pa.ArrowException, BrokenPageError) as error:
                    raise SampleError(
                        "read", "BrokenShard", f"{key} cannot be read at row {number}: {error}"
                    ) from error
        except Exception as error:  # noqa: BLE001 - raised where its sample is dealt with
            return error

    def _inputs(self, found: tuple[Sample, pa.RecordBatch | Exception]) -> Inputs | Exception:
        sample, row = found
        if isinstance(row, Exception):
            return row
        try:
            image = self._content("read", row.column(self.columns[0])[0], sample)
            carried = row.select(self.carried).replace_schema_metadata(None)  # it differs from part to part
            return Inputs(image, self._mask(row, sample), carried)
        except Exception as error:  # noqa: BLE001 - raised where its sample is dealt with
            return error

    def _mask(self, row: pa.RecordBatch, sample: Sample) -> bytes | tuple[MaskPart, ...]:
        if sample["mask_review"] is not None:  # which takes its place
            return b""
        if self.place.column:
            return self._masks(row.column(self.place.column)[0], sample)
        if self.place.box_column:
            return self._unless_missing(lambda: self._boxes(row.column(self.place.box_column), sample))
        return b""

    def _masks(self, cell: pa.Scalar, sample: Sample) -> bytes | tuple[MaskPart, ...]:
        """Return the mask of a row, or each in a list."""
        if not is_list(cell.type) or not cell.is_valid:
            return self._unless_missing(lambda: self._content("mask", cell, sample))
        found = [self._unless_missing(partial(self._content, "mask", one, sample)) for one in cell]
        names = (f"{self.place.column}[{index}]" for index in range(len(found)))
        return tuple(MaskPart(name, data) for name, data in zip(names, found, strict=True) if isinstance(data, bytes))

    def _unless_missing(self, read: Callable[[], bytes]) -> bytes | tuple[MaskPart, ...]:
        """Read a mask; return no mask if it is missing and ``mask.missing`` allows that."""
        try:
            return read()
        except SampleError as error:
            if error.kind == MISSING_MASK and self._mask_may_miss:
                return ()
            raise

    def _boxes(self, column: pa.Array, sample: Sample) -> bytes:
        if refusal := too_many_bytes(BOXES_AS_TEXT * column.nbytes, self.max_bytes):
            raise refusal
        boxes = column[0].as_py()
        if boxes is None:
            raise SampleError("mask", MISSING_MASK, f"{self.place.box_column} is null for {sample['sample_id']}")
        try:
            return json.dumps([{"boxes": boxes}]).encode()
        except TypeError as error:
            message = f"{self.place.box_column} holds no boxes for {sample['sample_id']}: {error}"
            raise SampleError("mask", "BadAnnotation", message) from error

    def _content(self, stage: str, cell: pa.Scalar, sample: Sample) -> bytes:
        """Return the bytes of an image or a mask: those in the cell, or those of the file that its uri names."""
        column = self.columns[0] if stage == "read" else self.place.column
        try:
            value = cell.as_py()
        except UnicodeDecodeError as error:
            message = f"{column} is not UTF-8 text for {sample['sample_id']}: {error}"
            raise SampleError(stage, "UnusableName", message) from error
        if isinstance(value, Mapping):
            value = value["bytes"] or value.get("path")
        if isinstance(value, bytes):
            return value
        if not value:
            kind = "MissingImage" if stage == "read" else MISSING_MASK
            raise SampleError(stage, kind, f"{column} is null or empty for {sample['sample_id']}")
        return self._linked.read(stage, value)
