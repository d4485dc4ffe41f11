"""Opens tar shards of any compression as plain bytes."""

import bz2
import contextlib
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, Protocol

import pyarrow as pa

from pipeline.storage.storage import Storage

BLOCK_BYTES = 1 << 20  # read at once
XZ_MEMORY_BYTES = 256 << 20  # of its dictionary; ``xz -9`` takes a quarter of that
_DAMAGE = (
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    pa.ArrowException,
)  # what decompressors raise, also pyarrow's and that of bzip2


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Streams:
    """Reads the decompressed bytes of concatenated streams sequentially.

    :class:`lzma.LZMAFile` does not limit its memory, :class:`bz2.BZ2File` ignores unreadable data at the end.
    """

    def __init__(self, file: _Readable, start: Callable[[], Any]) -> None:
        self._file, self._start, self._stream = file, start, start()

    def read(self, size: int) -> bytes:
        """Read at most ``size`` bytes, none only at the end."""
        while True:
            packed = b""
            if self._stream.eof:
                packed = self._behind_padding()
                if not packed:
                    return b""
                self._stream = self._start()
            elif self._stream.needs_input:
                packed = self._file.read(BLOCK_BYTES)
                if not packed:
                    raise EOFError("it ends before its end mark")
            if data := self._stream.decompress(packed, size):
                return data

    def _behind_padding(self) -> bytes:
        """Return the start of the next stream, after any number of zeros of xz padding."""
        packed = self._stream.unused_data or self._file.read(BLOCK_BYTES)
        while packed and not packed.lstrip(b"\0"):
            packed = self._file.read(BLOCK_BYTES)
        return packed.lstrip(b"\0")


_OPENERS: dict[str, Any] = {
    "gzip": lambda file: gzip.GzipFile(fileobj=file, mode="rb"),
    "bzip2": lambda file: _Streams(file, bz2.BZ2Decompressor),
    "xz": lambda file: _Streams(file, lambda: lzma.LZMADecompressor(memlimit=XZ_MEMORY_BYTES)),
    "zstd": lambda file: pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd"),
}
_KINDS = {
    ".tar": "",
    ".tar.gz": "gzip",
    ".tgz": "gzip",
    ".tar.bz2": "bzip2",
    ".tbz2": "bzip2",
    ".tar.xz": "xz",
    ".txz": "xz",
    ".tar.zst": "zstd",
    ".tzst": "zstd",
}
SUFFIXES = tuple(_KINDS)


def is_shard(key: str) -> bool:
    """Return whether a name is that of a tar shard, ignoring case."""
    return key.lower().endswith(SUFFIXES)


def is_compressed(key: str) -> bool:
    """Return whether a shard is compressed, so that locations refer to its decompressed stream."""
    return not key.lower().endswith(".tar")


class _StoredFile:
    """A file that records errors of its storage, to distinguish them from errors of its content."""

    closed = False  # asked by pyarrow

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.fault = file, None

    def read(self, size: int = -1) -> bytes:
        try:
            return self._file.read(size)
        except Exception as error:
            self.fault = error  # type: ignore[assignment]
            raise

    def close(self) -> None:
        """Do nothing: the caller owns the file."""


class ForwardFile:
    """Reads the decompressed bytes of a file sequentially.

    Args:
        file: compressed.
        kind: the compression.
    """

    def __init__(self, file: IO[bytes], kind: str) -> None:
        self._stored = _StoredFile(file)
        self._plain, self._kind, self._position = _OPENERS[kind](self._stored), kind, 0

    def read(self, size: int) -> bytes:
        """Read ``size`` bytes, fewer only at the end.

        Raises:
            tarfile.ReadError: the data is damaged or truncated.
            OSError: the storage does not answer.
        """
        pieces, missing = [], size
        try:
            while missing and (piece := self._plain.read(missing)):
                pieces.append(piece)
                missing -= len(piece)
                self._position += len(piece)
        except _DAMAGE as error:
            if self._stored.fault is not None:
                raise self._stored.fault from None
            raise tarfile.ReadError(f"its {self._kind} data cannot be unpacked: {error}") from error
        return b"".join(pieces)

    def tell(self) -> int:
        """Return the position in the decompressed bytes."""
        return self._position

    def seek(self, position: int) -> None:
        """Read forward to a position, or to the end.

        Raises:
            ValueError: the position was passed already.
        """
        if position < self._position:
            raise ValueError(
                f"byte {position} is before byte {self._position}, and this file can be read forwards only"
            )
        while self._position < position and self.read(min(BLOCK_BYTES, position - self._position)):
            pass


@contextlib.contextmanager
def open_shard(storage: Storage, key: str) -> Iterator[IO[bytes] | ForwardFile]:
    """Open a shard's plain bytes; a compressed one can only be read sequentially."""
    kind = _KINDS[next(suffix for suffix in SUFFIXES if key.lower().endswith(suffix))]
    with storage.open(key, BLOCK_BYTES) as file:
        yield ForwardFile(file, kind) if kind else file
