"""Samples in rows of Parquet files: images as bytes, as Hugging Face's ``{bytes, path}``, or as uris."""

from collections.abc import Iterable, Iterator
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import JobConfig
from pipeline.errors import ConfigError
from pipeline.sources import Found, matching_files, name_fault
from pipeline.storage import Storage, StoredFile

SUFFIXES = (".parquet", ".pq")
BLOCK_BYTES = 1 << 20
KEY_ROWS = 10_000  # of the key column are read at once


class ParquetRows:
    """Rows of all Parquet files below a uri whose path matches a pattern; of partitioned data sets too."""

    def __init__(self, config: JobConfig, storage: Storage) -> None:
        self.storage, self.pattern, self.key = storage, config.source.pattern, config.source.key
        self.columns = wanted_columns(config)
        self.image = self.columns[0]
        self.pictures = [self.image, *([config.mask.column] if config.mask.kind == "column" else [])]

    def files(self) -> list[StoredFile]:
        """See :class:`pipeline.sources.Source`."""
        files = matching_files(self.storage, self.pattern)
        parts = sorted(file for file in files if file.key.endswith(SUFFIXES) and not _is_hidden(file.key))
        if not parts:
            raise ConfigError(f"no file ({', '.join(SUFFIXES)}) below {self.storage} matches {self.pattern!r}")
        return parts

    def samples(self, files: Iterable[StoredFile]) -> Iterator[Found]:
        """See :class:`pipeline.sources.Source`."""
        parts = list(files)
        for part, footer in zip(parts, self.storage.in_parallel(self._footer, parts), strict=True):
            yield from self._rows(part, footer)

    def _rows(self, part: StoredFile, footer: pq.FileMetaData | str | None) -> Iterator[Found]:
        if footer is None:
            return
        if isinstance(footer, str):
            yield Found(part.key, 0, part.version, part.key, fault=f"BrokenShard: {footer}")
        elif self.key:
            yield from self._with_keys(part, footer)
        else:
            size = row_bytes(footer, self.image)
            for row in range(footer.num_rows):
                yield Found(f"{part.key}#{row}", size, part.version, part.key, [row], True)

    def _footer(self, part: StoredFile) -> pq.FileMetaData | str | None:
        """What a file says of itself, why it does not, or nothing where it was deleted since it was listed."""
        try:
            with self.storage.open(part.key, BLOCK_BYTES) as file:
                footer = pq.read_metadata(file)
        except pa.ArrowInvalid as error:
            return f"{part.key} is no Parquet file: {str(error).splitlines()[0]}"
        except FileNotFoundError:
            return None
        schema = footer.schema.to_arrow_schema()
        check_columns(schema, [*self.columns, *filter(None, [self.key])], part.key)
        for column in self.pictures:
            check_pictures(schema.field(column), part.key)
        return footer

    def _with_keys(self, part: StoredFile, footer: pq.FileMetaData) -> Iterator[Found]:
        size, row = row_bytes(footer, self.image), 0
        with self.storage.open(part.key, BLOCK_BYTES) as file:
            for batch in open_parquet(file).iter_batches(KEY_ROWS, columns=[self.key]):
                for key in batch.column(0).to_pylist():
                    key = key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else key
                    name = f"{part.key}#{row}" if key is None else str(key)
                    missing = f"MissingKey: {self.key} is null in row {row} of {part.key}"
                    fault = missing if key is None else name_fault(name)
                    yield Found(name, size, part.version, part.key, [row], True, fault)
                    row += 1


def wanted_columns(config: JobConfig) -> list[str]:
    """Columns that a worker reads, the image's first."""
    mask = [config.mask.column] if config.mask.kind in ("column", "boxes") and config.mask.column else []
    return list(dict.fromkeys([config.source.image or "image", *mask, *config.sink.carry]))


def check_columns(schema: pa.Schema, columns: list[str], file: str) -> None:
    """Refuse a file that lacks a column.

    Raises:
        ConfigError: naming the columns that there are.
    """
    if missing := [column for column in columns if column not in schema.names]:
        raise ConfigError(f"{file} has no column {', '.join(missing)}; it has {', '.join(schema.names)}")


def check_pictures(column: pa.Field, file: str) -> None:
    """Refuse a column that cannot hold images or masks; one that is null in all of a file can.

    Raises:
        ConfigError: naming the type that it has.
    """
    kind = column.type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") < 0:
        raise ConfigError(f"{file}: a struct of images needs a field bytes, {column.name} is {kind}")
    plain = (
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_null,
    )
    if not pa.types.is_struct(kind) and not any(check(kind) for check in plain):
        raise ConfigError(f"{file}: images are bytes, {{bytes, path}} or uris, the column {column.name} is {kind}")


def row_bytes(footer: pq.FileMetaData, column: str) -> int:
    """About what the image of one row takes."""
    total = 0
    for group in (footer.row_group(index) for index in range(footer.num_row_groups)):
        chunks = (group.column(index) for index in range(group.num_columns))
        total += sum(chunk.total_compressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] == column)
    return total // max(footer.num_rows, 1)


def open_parquet(file: IO[bytes]) -> pq.ParquetFile:
    """A file whose columns are read piece by piece, so that a large row group needs no memory of its size."""
    return pq.ParquetFile(file, pre_buffer=False, buffer_size=BLOCK_BYTES)


def _is_hidden(key: str) -> bool:
    return any(part.startswith((".", "_")) for part in key.split("/"))
