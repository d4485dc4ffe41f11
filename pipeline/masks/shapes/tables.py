"""Reads rows of Parquet, CSV and JSON files batch by batch; values of text files keep the type that they have."""

import contextlib
import gzip
import json
import re
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from typing import IO, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from pipeline.errors import ConfigError
from pipeline.masks.json_stream import read_array
from pipeline.sources.base import glob_pattern
from pipeline.sources.listed.tables import CSV_SUFFIXES, PARSE_BYTES, READ_BYTES
from pipeline.sources.listed.tables import JSON_SUFFIXES as LINES_SUFFIXES
from pipeline.sources.parquet.source import SUFFIXES as PARQUET_SUFFIXES
from pipeline.storage.storage import Storage

BATCH_ROWS = 5_000  # a row may hold many objects
JSON_ARRAY = ".json"
SUFFIXES = (*PARQUET_SUFFIXES, *CSV_SUFFIXES, JSON_ARRAY, *LINES_SUFFIXES)
Row = dict[str, Any]
Wanted = Callable[[Collection[str]], Mapping[str, bool]]


def table_keys(storage: Storage, pattern: str | None) -> list[str]:
    """Return the files of a table: the storage itself if it is a file, else those below it that match a glob.

    Hidden files are left out, such as Spark's ``_SUCCESS``.

    Raises:
        ConfigError: there is none, or the pattern is invalid.
    """
    if pattern is None and storage.is_file():
        return [""]
    try:
        matches = glob_pattern(pattern).fullmatch if pattern else bool
    except (re.error, ValueError) as error:
        raise ConfigError(f"mask.uri: {pattern!r}: {error}") from error
    keys = [file.key for file in storage.list_files()] if storage.exists() else []
    found = sorted(key for key in keys if _is_table(key) and matches(key))
    if not found:
        there = f"{storage}/{pattern}" if pattern else storage
        raise ConfigError(f"mask.uri: no table ({', '.join(SUFFIXES)}) at {there}")
    return found


def _is_table(key: str) -> bool:
    return key.lower().endswith(SUFFIXES) and not any(part.startswith((".", "_")) for part in key.split("/"))


def read_rows(storage: Storage, key: str, wanted: Wanted) -> Iterator[list[Row]]:
    """Yield the rows of a file.

    Args:
        storage: that holds it.
        key: of the file, empty for the storage itself.
        wanted: returns the columns to read of those that are there, and whether the values of a CSV column have a type
            rather than being text; of JSON all are read.

    Raises:
        ConfigError: the file cannot be read.
    """
    name = storage.uri(key).lower()
    with _readable(storage, key):
        if name.endswith(PARQUET_SUFFIXES):
            yield from _parquet(storage, key, wanted)
        elif name.endswith(CSV_SUFFIXES):
            yield from _csv(storage, key, wanted)
        else:
            rows = _json_array(storage, key) if name.endswith(JSON_ARRAY) else _json_lines(storage, key)
            while batch := list(islice(rows, BATCH_ROWS)):
                yield batch


def _parquet(storage: Storage, key: str, wanted: Wanted) -> Iterator[list[Row]]:
    with storage.open(key, READ_BYTES) as file:
        parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=READ_BYTES)
        columns = list(wanted(parquet.schema_arrow.names))
        yield from (batch.to_pylist() for batch in parquet.iter_batches(BATCH_ROWS, columns=columns))


def _csv(storage: Storage, key: str, wanted: Wanted) -> Iterator[list[Row]]:
    with storage.open(key, READ_BYTES) as file:
        sniffed = _open_csv(_plain(file, storage.uri(key))).schema
    chosen = wanted(sniffed.names)
    types = {name: _wide(sniffed.field(name).type) if is_typed else pa.string() for name, is_typed in chosen.items()}
    with storage.open(key, READ_BYTES) as file:
        options = pyarrow.csv.ConvertOptions(include_columns=list(chosen), column_types=types, strings_can_be_null=True)
        for batch in _open_csv(_plain(file, storage.uri(key)), options):
            yield from (batch.slice(start, BATCH_ROWS).to_pylist() for start in range(0, len(batch), BATCH_ROWS))


def _wide(kind: pa.DataType) -> pa.DataType:
    """Return the type of a column by that of its first values, of which later ones may be less regular."""
    if pa.types.is_integer(kind):
        return pa.float64()
    return pa.string() if pa.types.is_null(kind) else kind


def _open_csv(file: Any, options: pyarrow.csv.ConvertOptions | None = None) -> pyarrow.csv.CSVStreamingReader:
    return pyarrow.csv.open_csv(
        file,
        pyarrow.csv.ReadOptions(block_size=PARSE_BYTES),
        pyarrow.csv.ParseOptions(newlines_in_values=True),
        options,
    )


def _plain(file: IO[bytes], name: str) -> Any:
    plain = pa.PythonFile(file, "r")
    return pa.CompressedInputStream(plain, "gzip") if name.lower().endswith(".gz") else plain


def _json_lines(storage: Storage, key: str) -> Iterator[Row]:
    with storage.open(key, READ_BYTES) as stored:
        file: Any = gzip.GzipFile(fileobj=stored) if storage.uri(key).lower().endswith(".gz") else stored
        for number, line in enumerate(file, start=1):
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            if text:
                yield _row(json.loads(text), f"line {number}")


def _json_array(storage: Storage, key: str) -> Iterator[Row]:
    with storage.open(key, READ_BYTES) as file:
        for number, value in enumerate(read_array(file)):
            yield _row(value, f"element {number}")


def _row(value: Any, place: str) -> Row:
    if not isinstance(value, dict):
        raise ValueError(f"{place} is not an object with keys")
    return value


@contextlib.contextmanager
def _readable(storage: Storage, key: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, ValueError, EOFError, RecursionError, gzip.BadGzipFile, zlib.error) as error:
        if isinstance(error, ConfigError):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"mask.uri: {storage.uri(key)} cannot be read as a table: {reason}") from error
