"""A file that tells errors of its storage from those of its readers."""

from typing import IO, Any


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
