"""Writes exported rows to Parquet files of bounded size, and copies files without some of their rows."""

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

FOLDER = "data"
FILE_BYTES = 256 << 20
GROUP_BYTES, GROUP_ROWS = 32 << 20, 50_000
_HASH_DIGITS = 16
OWN_FILE = re.compile(rf"{FOLDER}/[0-9a-f]{{{_HASH_DIGITS}}}-\d{{6,}}\.parquet")


class DataFile(NamedTuple):
    """A Parquet file of an export.

    Args:
        name: below the target.
        rows: their number.
        size_bytes: of the file.
    """

    name: str
    rows: int
    size_bytes: int


def write_files(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    store: Callable[[str, str], None],
    file_bytes: int = FILE_BYTES,
) -> Iterator[DataFile]:
    """Write batches to files of about equal size, none of which is in memory or on the disk longer than needed.

    Args:
        batches: of rows.
        schema: of the files; batches are cast to it.
        store: called with a name and the path of a temporary file, to put it in its place.
        file_bytes: size of a file at which the next one begins.
    """
    iterator = iter(batches)
    batch = next(iterator, None)
    while batch is not None:
        with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
            rows = 0
            with pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=_repeating(schema)) as writer:
                while batch is not None and file.tell() < file_bytes:
                    for group in _groups(batch):
                        writer.write_table(pa.Table.from_batches([group]).cast(schema), row_group_size=GROUP_ROWS)
                    rows += batch.num_rows
                    batch = next(iterator, None)
            file.flush()
            name = f"{FOLDER}/{_digest(file.name)}-{rows:06}.parquet"
            size_bytes = os.path.getsize(file.name)
            store(name, file.name)
        yield DataFile(name, rows, size_bytes)


def kept_rows(file: IO[bytes], dropped: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file, except those of some samples."""
    parquet, gone = pq.ParquetFile(file), pa.array(dropped, pa.string())
    for group in range(parquet.num_row_groups):
        for batch in parquet.iter_batches(GROUP_ROWS, [group]):
            kept = batch.filter(pc.invert(pc.is_in(batch["sample_id"], gone)))
            if kept.num_rows:
                yield kept


def _repeating(schema: pa.Schema) -> list[str]:
    """Return columns whose values repeat, so that a dictionary makes them smaller."""
    unique = {"sample_id", "row_version", "output_sha256"}
    return [field.name for field in schema if pa.types.is_string(field.type) and field.name not in unique]


def _groups(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Cut a batch into pieces that are good row groups: a reader must take at least one."""
    per_group = max(1, min(GROUP_ROWS, batch.num_rows * GROUP_BYTES // max(batch.nbytes, 1)))
    for start in range(0, batch.num_rows, per_group):
        yield batch.slice(start, per_group)


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:_HASH_DIGITS]
