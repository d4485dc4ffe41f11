"""Access to files and objects: one class for all storages, each kind of which is a file of ``backends/``.

Writes are atomic: object stores replace whole objects, local files are written beside the data and then moved.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, Any, TypeVar

from pipeline.storage.backends.base import LINK_TO_NOTHING, Backend, StoredFile
from pipeline.storage.backends.local import LocalBackend
from pipeline.storage.backends.remote import RemoteBackend
from pipeline.storage.backends.s3 import S3Backend

__all__ = ["LINK_TO_NOTHING", "Storage", "StoredFile"]
T = TypeVar("T")
R = TypeVar("R")


class Storage:
    """A folder, a prefix of a bucket, or any other fsspec location, addressed by keys below its root.

    All errors of an unreachable remote file system are raised as ``OSError``.

    Args:
        uri: local path or fsspec uri; a relative path is taken from the working directory.
        options: options of the file system, such as ``endpoint_url`` and ``key``; they never appear in messages.

    Raises:
        ConfigError: an unknown protocol, a missing package for it, or options that its client does not take.
    """

    def __init__(self, uri: str, options: Mapping[str, Any] | None = None) -> None:
        self._backend = _open_backend(uri, options or {})
        self.is_local, self.is_s3 = self._backend.is_local, self._backend.is_s3
        self.filesystem, self.root = self._backend.filesystem, self._backend.root

    def __str__(self) -> str:
        return str(self._backend)

    def uri(self, key: str) -> str:
        """Return the full uri of a key (empty: the root) without secrets; an absolute path on local disks."""
        return self._backend.uri(key)

    def path(self, key: str) -> str:
        """Return the path of a key (empty: the root) inside the file system.

        Raises:
            ValueError: the key would escape the root, or is no valid text.
        """
        return self._backend.path(key)

    def holds(self, uri: str) -> bool:
        """Return whether a uri is below the root, as written by :meth:`uri`."""
        return uri.startswith(f"{self}/")

    def key(self, uri: str) -> str:
        """Return the key of a uri written by :meth:`uri`.

        Raises:
            ValueError: the uri is another.
        """
        if not self.holds(uri):
            raise ValueError(f"{uri} is not below {self}")
        return uri.removeprefix(f"{self}/")

    def is_file(self) -> bool:
        """Return whether the root itself is a file."""
        return self._backend.is_file()

    def exists(self) -> bool:
        """Return whether anything exists at the root."""
        return self._backend.exists()

    def list_files(self, below: str = "", dead_links: bool = False) -> Iterator[StoredFile]:
        """Yield every file below the root, or below a folder of it, in no particular order, following links.

        Names that are not UTF-8 have their bytes escaped (``caf\\xe9.png``) and cannot be read.

        Args:
            below: the folder.
            dead_links: also list dangling links, with ``LINK_TO_NOTHING`` as their version.
        """
        return self._backend.list_files(below, dead_links)

    def stat(self, key: str = "") -> StoredFile:
        """Return size and version of one file.

        Raises:
            FileNotFoundError: no such file.
        """
        return self._backend.stat(key)

    def read(
        self,
        key: str = "",
        version: str | None = None,
        span: tuple[int, int] | None = None,
        size_bytes: int | None = None,
    ) -> bytes:
        """Read the bytes of a key, or of the root if it is a file.

        Args:
            key: of the file.
            version: from a listing; a file that has changed since is not read.
            span: first byte and the one behind the last; ``None`` reads all.
            size_bytes: of the whole file as listed, where the version is that of a listing.

        Raises:
            FileChangedError: the version is another.
            IncompleteReadError: fewer bytes arrived than the file has.
        """
        return self._backend.read(key, version, span, size_bytes)

    def open(self, key: str, block_bytes: int | None = None) -> IO[bytes]:
        """Open a file for random access, to read parts of large files in blocks."""
        return self._backend.open(key, block_bytes)

    def write(self, key: str, data: bytes) -> None:
        """Create or replace a file atomically."""
        self._backend.write(key, data)

    def write_all(
        self, files: Iterable[tuple[str, bytes]], check: Callable[[], None] = lambda: None
    ) -> Iterator[Exception | None]:
        """Write many files, faster than one by one; yield the error of each, in order, one group late.

        Args:
            files: keys and contents.
            check: called right before each file gets its name; if it raises, the file is not written.
        """
        return self._backend.write_all(files, check)

    def upload(self, key: str, path: str) -> None:
        """Write a local file; a large one is uploaded to object stores in parts."""
        self._backend.upload(key, path)

    def create(self, key: str, data: bytes) -> None:
        """Create a file atomically, unless it exists.

        Raises:
            FileExistsError: the file exists.
            ConditionRefusedError: the storage does not support it.
        """
        self._backend.create(key, data)

    def in_parallel(self, work: Callable[[T], R], items: Iterable[T], even_local: bool = False) -> Iterator[R]:
        """Map a function over items with several requests at once on remote storages, a few items ahead.

        Args:
            work: called from threads.
            items: its arguments; results are in their order.
            even_local: use threads for local disks as well.
        """
        return self._backend.in_parallel(work, items, even_local)

    def delete(self, key: str) -> None:
        """Remove a file if it exists."""
        self._backend.delete(key)

    def clear_staging(self) -> None:
        """Remove temporary files of killed processes; the caller must hold the lease."""
        self._backend.clear_staging()


def _open_backend(uri: str, options: Mapping[str, Any]) -> Backend:
    path = uri.removeprefix("file://").removeprefix("local://")
    if "://" not in path:  # not by url_to_fs, to which "::" in a name means more than a name
        return LocalBackend(path)
    is_s3 = uri.startswith(("s3://", "s3a://"))
    return S3Backend(uri, options) if is_s3 else RemoteBackend(uri, options)
