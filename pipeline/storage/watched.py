"""A file that tells errors of its storage from those of its readers."""

import contextlib
from collections.abc import Callable, Iterator
from typing import IO, Any

import pyarrow as pa


class WatchedFile:
    """A file that records errors of its storage, since Parquet's reader also raises ``OSError`` for damage.

    Attributes:
        fault: the last error of the storage; ``None`` as long as it answers.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.fault: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        """Read as the file does."""
        try:
            return self._file.read(size)
        except Exception as error:
            self.fault = error
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextlib.contextmanager
def watching(
    file: IO[bytes], damaged: Callable[[Exception], Exception], *also: type[Exception]
) -> Iterator[WatchedFile]:
    """Yield a file for a reader of Parquet, whose errors are raised as the storage's own or as damage.

    Args:
        file: to read.
        damaged: makes the error to raise from that of the reader.
        also: errors of the reader that mean damage, besides those of Arrow, ``OSError`` and ``ValueError``.
    """
    watched = WatchedFile(file)
    try:
        yield watched
    except (pa.ArrowException, OSError, ValueError, *also) as error:
        if watched.fault is not None:
            raise watched.fault from None
        raise damaged(error) from error


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, or its type if it says nothing."""
    return (str(error).strip() or repr(error)).splitlines()[0]
