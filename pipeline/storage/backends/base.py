"""The interface of kinds of storages."""

import contextlib
import posixpath
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, NamedTuple, TypeVar

from fsspec import AbstractFileSystem

from pipeline.storage.errors import answering

REQUESTS_AT_ONCE = 8
LINK_TO_NOTHING = "link to nothing"  # in place of the version of what is not there
T = TypeVar("T")
R = TypeVar("R")


class StoredFile(NamedTuple):
    """One file of a listing.

    Args:
        key: path below the storage's root, with ``/``.
        size_bytes: its size.
        version: changes whenever the content does: the etag, else size and time of change.
    """

    key: str
    size_bytes: int
    version: str


class Backend(ABC):
    """A kind of storage, with what all kinds have in common.

    Each method does what :class:`pipeline.storage.storage.Storage` says of the one with the same name.

    Args:
        filesystem: of fsspec.
        root: path inside it.

    Attributes:
        is_local: files of this machine, by absolute path.
        is_s3: versions are etags, and ``root`` is ``bucket/prefix``.
        has_nameless_folders: names of folders may be empty, so a key may begin with a slash.
    """

    is_local = is_s3 = has_nameless_folders = False

    def __init__(self, filesystem: AbstractFileSystem, root: str) -> None:
        self.filesystem, self.root = filesystem, root
        self._threads: ThreadPoolExecutor | None = None

    def __str__(self) -> str:
        return self.uri("")

    def path(self, key: str) -> str:
        """See :class:`pipeline.storage.storage.Storage`, as for all below."""
        is_absolute = key.startswith("/") and not self.has_nameless_folders
        if "\\" in key or ".." in key.split("/") or "\0" in key or is_absolute:
            raise ValueError(f"{key!r} is not a valid key below {self}")
        if self.has_nameless_folders and key:
            return f"{self.root}/{key}"
        return posixpath.join(self.root, key) if key else self.root

    @abstractmethod
    def uri(self, key: str) -> str: ...

    @answering()
    def is_file(self) -> bool:
        return self.filesystem.isfile(self.root)

    @answering()
    def exists(self) -> bool:
        return self.filesystem.exists(self.root)

    @abstractmethod
    def list_files(self, below: str, dead_links: bool) -> Iterator[StoredFile]: ...

    @abstractmethod
    def stat(self, key: str) -> StoredFile: ...

    @abstractmethod
    def read(self, key: str, version: str | None, span: tuple[int, int] | None, size_bytes: int | None) -> bytes: ...

    @answering()
    def open(self, key: str, block_bytes: int | None) -> IO[bytes]:
        return self.filesystem.open(self.path(key), "rb", block_size=block_bytes)

    @abstractmethod
    def write(self, key: str, data: bytes) -> None: ...

    @abstractmethod
    def write_all(
        self, files: Iterable[tuple[str, bytes]], check: Callable[[], None]
    ) -> Iterator[Exception | None]: ...

    @abstractmethod
    def upload(self, key: str, path: str) -> None: ...

    @abstractmethod
    def create(self, key: str, data: bytes) -> None: ...

    def delete(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError), answering():
            self._delete(self.path(key))

    def _delete(self, path: str) -> None:
        self.filesystem.rm_file(path)

    @abstractmethod
    def clear_staging(self) -> None: ...

    def in_parallel(self, work: Callable[[T], R], items: Iterable[T], even_local: bool = False) -> Iterator[R]:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(REQUESTS_AT_ONCE)
        under_way: deque[Future[R]] = deque()
        for item in items:
            under_way.append(self._threads.submit(work, item))
            if len(under_way) > 2 * REQUESTS_AT_ONCE:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
