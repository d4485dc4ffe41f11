"""Reads columns of Parquet, CSV and JSON-lines files batch by batch, in bounded memory."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from pipeline.errors import ConfigError
from pipeline.sources.listed.columns import CARRIED
from pipeline.sources.parquet.pages import is_in_column
from pipeline.sources.parquet.source import SUFFIXES as PARQUET_SUFFIXES
from pipeline.storage.storage import Storage

CSV_SUFFIXES, JSON_SUFFIXES = (".csv", ".csv.gz"), (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
TABLE_SUFFIXES = (*PARQUET_SUFFIXES, *CSV_SUFFIXES, *JSON_SUFFIXES)
READ_BYTES = 8 << 20  # of a remote file in one request
PARSE_BYTES = 4 << 20  # of text at once, and the longest line
BATCH_ROWS, BATCH_BYTES = 65_536, 64 << 20  # of a Parquet file, whose columns may hold long values
_TEXT = pa.binary()  # checked later, row by row
_BOXES = pa.list_(pa.list_(pa.float64()))


class Table:
    """One file of a list.

    Args:
        storage: that holds it.
        key: of the file.
        header: names of the columns of a CSV file that has no header.
    """

    def __init__(self, storage: Storage, key: str, header: Sequence[str] | None = None) -> None:
        self.storage, self.key, self.header = storage, key, header

    def __str__(self) -> str:
        return self.storage.uri(self.key)

    def names(self) -> list[str]:
        """Return the names of the columns; of JSON lines, those in the first lines.

        Raises:
            ConfigError: the file cannot be read.
        """
        if self.header is not None:
            return list(self.header)
        with self._readable():
            return list(self._open_first().schema.names)

    def batches(self, columns: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows.

        Args:
            columns: names to read, by the role that decides the type of text files; ``boxes`` may be nested, and those
                that are carried have any type.

        Raises:
            ConfigError: the file cannot be read, or a value has another type.
        """
        names = list(dict.fromkeys(columns.values()))
        with self._readable():
            if self._is(PARQUET_SUFFIXES):
                with self._open() as file:
                    parquet = pq.ParquetFile(
                        file, pre_buffer=False, buffer_size=READ_BYTES, coerce_int96_timestamp_unit="us"
                    )
                    yield from parquet.iter_batches(_batch_rows(parquet.metadata, names), columns=names)
                return
            yield from self._open_csv(names) if self._is(CSV_SUFFIXES) else self._open_json(columns)

    def _open_first(self) -> Any:
        if self._is(PARQUET_SUFFIXES):
            with self._open() as file:
                return pq.ParquetFile(file).schema_arrow.empty_table()
        return self._open_csv(None) if self._is(CSV_SUFFIXES) else self._open_json(None)

    def _open_csv(self, names: list[str] | None) -> Iterator[pa.RecordBatch]:
        header = None if self.header is None else list(self.header)
        return pyarrow.csv.open_csv(
            self._open(),
            pyarrow.csv.ReadOptions(block_size=PARSE_BYTES, column_names=header),
            pyarrow.csv.ParseOptions(newlines_in_values=self.header is None),
            pyarrow.csv.ConvertOptions(include_columns=names, column_types=dict.fromkeys(names or [], _TEXT)),
        )

    def _open_json(self, columns: Mapping[str, str] | None) -> Iterator[pa.RecordBatch]:
        options = pyarrow.json.ParseOptions()
        if columns is not None:
            sniffed = self._open_json(None).schema  # type: ignore[attr-defined]
            schema, ignored = _json_schema(columns, sniffed)
            options = pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior=ignored)
        return pyarrow.json.open_json(self._open(), pyarrow.json.ReadOptions(block_size=PARSE_BYTES), options)

    def _open(self) -> Any:
        path = self.storage.path(self.key)
        file = pa.OSFile(path) if self.storage.is_local else pa.PythonFile(self.storage.open(self.key, READ_BYTES), "r")
        return pa.CompressedInputStream(file, "gzip") if self.key.lower().endswith(".gz") else file

    def _is(self, suffixes: tuple[str, ...]) -> bool:
        return self.key.lower().endswith(suffixes)

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OverflowError) as error:
            raise self._unreadable(error) from error
        except OSError as error:
            if error.errno is not None or isinstance(error, ConnectionError | TimeoutError):
                raise
            raise self._unreadable(error) from error  # of Arrow, about compressed data

    def _unreadable(self, error: Exception) -> ConfigError:
        kinds = {"Parquet": PARQUET_SUFFIXES, "CSV": CSV_SUFFIXES, "JSON lines": JSON_SUFFIXES}
        kind = next(name for name, suffixes in kinds.items() if self._is(suffixes))
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return ConfigError(f"source.uri: {self} cannot be read as {kind}: {reason}; write it again or leave it out")


def _batch_rows(footer: pq.FileMetaData, names: Sequence[str]) -> int:
    """Return how many rows of a Parquet file to read at once."""
    groups = [footer.row_group(index) for index in range(footer.num_row_groups)]
    chunks = (group.column(index) for group in groups for index in range(group.num_columns))
    total_bytes = sum(
        chunk.total_uncompressed_size for chunk in chunks if any(is_in_column(chunk.path_in_schema, n) for n in names)
    )
    return max(1, min(BATCH_ROWS, BATCH_BYTES * footer.num_rows // max(total_bytes, 1)))


def _json_schema(columns: Mapping[str, str], sniffed: pa.Schema) -> tuple[pa.Schema, str]:
    """Return the fields to read, and how PyArrow treats others: ``error`` where they may be inside a carried one."""
    types = {name: _json_type(role, name, sniffed) for role, name in columns.items()}
    types |= {name: _BOXES for role, name in columns.items() if role == "boxes" and types[name] != pa.string()}
    carried = [types[name] for role, name in columns.items() if role.startswith(CARRIED)]
    if not any(map(pa.types.is_nested, carried)):
        return pa.schema(types), "ignore"
    others = {field.name: _plain_json(field.type) for field in sniffed if field.name not in types}
    return pa.schema(types | others), "error"  # ignoring would leave out fields that the first lines do not have


def _json_type(role: str, name: str, sniffed: pa.Schema) -> pa.DataType:
    """Return the type of a field: text or a number as the first lines have it; boxes may be lists."""
    found = sniffed.field(name).type if name in sniffed.names else pa.null()
    if role == "boxes":
        return pa.string() if pa.types.is_string(found) else _BOXES
    return _plain_json(found)


def _plain_json(kind: pa.DataType) -> pa.DataType:
    """Return the type of values as JSON has them: what looks like a time is text, and so is what is null at first."""
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_plain_json(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(_plain_json(kind.value_type))
    return pa.string() if pa.types.is_null(kind) or pa.types.is_timestamp(kind) else kind
