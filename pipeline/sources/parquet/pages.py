"""Checks the sizes in Parquet page headers before anything is decompressed.

A reader of Parquet decompresses a page as a whole, so a file of a few kilobytes can take gigabytes. The footer may be
wrong and PyArrow's API does not give the size of a page; only the header in front of it does, and the decompressor
allocates exactly that size.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import IO

import pyarrow.parquet as pq

from pipeline.sources.parquet.headers import BrokenPageError, Page, read_header

MAX_HEADER_BYTES = 1 << 20
SMALL_PAGE_BYTES = 64 << 20  # are never too many
PAGES_OF_LIMIT = 2  # a page may be so many times limits.max_bytes, since it holds several rows
EXPANSION = 2  # photos do not compress; a large page of large photos expands by less
VALUE_BYTES = 8  # of a decoded number, length or level


class LargePageError(Exception):
    """A page would take too much memory."""


@dataclass
class Chunk:
    """A column chunk of a row group, and the offset of its next page header."""

    next_header: int
    end: int
    is_repeated: bool
    value_count: int = field(default=0)
    stored_bytes: int = field(default=0)


def chunks_of(footer: pq.FileMetaData, group: int, columns: Iterable[str]) -> list[Chunk]:
    """Return the column chunks of a row group that a read of some columns opens."""
    names, row_group = list(columns), footer.row_group(group)
    chunks = []
    for index in range(row_group.num_columns):
        column = row_group.column(index)
        if any(is_in_column(column.path_in_schema, name) for name in names):
            start = column.data_page_offset
            if 0 < (column.dictionary_page_offset or 0) < start:  # as PyArrow decides it
                start = column.dictionary_page_offset
            is_repeated = footer.schema.column(index).max_repetition_level > 0
            chunks.append(Chunk(start, start + column.total_compressed_size, is_repeated))
    return chunks


def is_in_column(path_in_schema: str, column: str) -> bool:
    """Return whether a leaf of the schema belongs to a column, by PyArrow's rule: names may contain dots."""
    return path_in_schema == column or path_in_schema.startswith(f"{column}.")


class GuardedFile:
    """A file that refuses reads once a page of a watched column chunk is too large.

    PyArrow reads the header of a page with it or before it, and decompresses it afterwards.

    Args:
        file: a Parquet file.
        max_bytes: of a sample.
    """

    def __init__(self, file: IO[bytes], max_bytes: int) -> None:
        self._file, self._chunks = file, list[Chunk]()
        self._limit_bytes = max(SMALL_PAGE_BYTES, PAGES_OF_LIMIT * max_bytes)

    def watch(self, chunks: list[Chunk]) -> None:
        """Check the pages of these column chunks from now on."""
        self._chunks = chunks

    def read(self, size: int = -1) -> bytes:
        """Read, as of a file.

        Raises:
            LargePageError: a page that begins in the data read would take too much memory.
            BrokenPageError: there is no page header at an expected offset.
        """
        start = self._file.tell()
        data = self._file.read(size)
        for chunk in self._chunks:
            while start <= chunk.next_header < min(start + len(data), chunk.end):
                self._check(chunk, self._page(chunk.next_header, data[chunk.next_header - start :][:MAX_HEADER_BYTES]))
        return data

    def _page(self, at: int, data: bytes) -> Page:
        try:
            return read_header(data)
        except IndexError:  # it continues after the bytes read
            here = self._file.tell()
            self._file.seek(at)
            data = self._file.read(MAX_HEADER_BYTES)
            self._file.seek(here)
        try:
            return read_header(data)
        except IndexError as error:
            raise BrokenPageError(f"a page header has no end at byte {at}") from error

    def _check(self, chunk: Chunk, page: Page) -> None:
        value_count = page.value_count + (chunk.value_count if chunk.is_repeated else 0)
        stored_bytes = page.stored_bytes + (chunk.stored_bytes if chunk.is_repeated else 0)
        needed_bytes = max(page.expanded_bytes, VALUE_BYTES * value_count)  # a row of lists may take all values
        if needed_bytes > max(self._limit_bytes, EXPANSION * stored_bytes):
            raise LargePageError(f"{stored_bytes} bytes of a page expand to {needed_bytes}")
        chunk.value_count, chunk.stored_bytes = value_count, stored_bytes
        chunk.next_header += page.header_bytes + page.stored_bytes

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move, as in a file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()

    @property
    def closed(self) -> bool:
        """Whether the file was closed."""
        return self._file.closed

    def close(self) -> None:
        """Close the file."""
        self._file.close()
