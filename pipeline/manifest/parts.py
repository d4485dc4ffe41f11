"""Parts of the manifest as Parquet files whose damage is noticed.

Pages carry Parquet's own checksums, which cover neither their headers nor the footer. So a hash of the pages and one of
the footer are stored between the two, in bytes that no footer refers to and that readers of Parquet therefore skip. The
first is compared in small parts only, which are read whole anyway; in large ones headers are a few bytes in a million.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DamagedManifestError
from pipeline.storage.storage import Storage
from pipeline.storage.watched import WatchedFile, first_line, watching

BATCH_ROWS = 50_000
_MAGIC, _LENGTH_BYTES = b"PAR1", 4
_MARK = b"moebius.sha256:"
_HASH_BYTES = hashlib.sha256().digest_size
_SMALL_BYTES = 1 << 18  # a part that is read whole
_TAIL_BYTES = 1 << 16  # of a larger one: what Parquet's reader asks for first, so that it is fetched once


def encode_part(rows: pa.Table) -> bytes:
    """Encode rows as a Parquet file with checksums of its pages and its footer."""
    buffer = pa.BufferOutputStream()
    pq.write_table(rows, buffer, compression="zstd", row_group_size=BATCH_ROWS, write_page_checksum=True)
    data = buffer.getvalue().to_pybytes()
    start = len(data) - _footer_bytes(data)
    pages, footer = data[:start], data[start:]
    return b"".join((pages, _MARK, _hash(pages), _hash(footer), footer))


@contextlib.contextmanager
def open_part(storage: Storage, key: str) -> Iterator[pq.ParquetFile]:
    """Open a part; damage is detected while it is read.

    Raises:
        DamagedManifestError: it is empty, cut off, or not what was written.
        OSError: the storage does not answer.
    """
    with storage.open(key) as file, watching(file, partial(_damaged, storage, key)) as watched:
        _check(watched)
        yield pq.ParquetFile(watched, page_checksum_verification=True)


def _footer_bytes(tail: bytes) -> int:
    """Return the length of a Parquet footer, with what follows it, from the last bytes of the file."""
    end = _LENGTH_BYTES + len(_MAGIC)
    return int.from_bytes(tail[-end : -len(_MAGIC)], "little") + end


def _hash(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _check(file: WatchedFile) -> None:
    """Verify the hashes of a part; parts of earlier versions have none.

    Raises:
        ValueError: it differs from what was written.
    """
    size = file.seek(0, os.SEEK_END)
    tail = _read_last(file, size, size if size <= _SMALL_BYTES else _TAIL_BYTES)
    if tail[-len(_MAGIC) :] != _MAGIC:
        raise ValueError(f"its {size} bytes do not end as a Parquet file does")
    footer_bytes = _footer_bytes(tail)
    marked_bytes = footer_bytes + 2 * _HASH_BYTES + len(_MARK)
    if marked_bytes > len(tail):
        tail = _read_last(file, size, marked_bytes)
    pages, marked = tail[:-marked_bytes], tail[-marked_bytes:]
    if not marked.startswith(_MARK):
        return
    hashes, footer = marked[len(_MARK) : -footer_bytes], marked[-footer_bytes:]
    if hashes[_HASH_BYTES:] != _hash(footer) or (len(tail) == size and hashes[:_HASH_BYTES] != _hash(pages)):
        raise ValueError("its bytes are others than were written")


def _read_last(file: WatchedFile, size: int, count: int) -> bytes:
    file.seek(max(size - count, 0))
    return file.read()


def _damaged(storage: Storage, key: str, error: Exception) -> DamagedManifestError:
    return DamagedManifestError(
        f"{storage.uri(key)} is damaged ({first_line(error)}). Restore it from a backup, or move it out of that "
        "folder: the next run then processes the samples again whose rows it held"
    )
