"""Local disks: files are written beside the data, flushed, and then moved to their names."""

import os
import posixpath
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import TypeVar

from fsspec.implementations.local import LocalFileSystem

from pipeline.storage.backends.base import LINK_TO_NOTHING, Backend, StoredFile
from pipeline.storage.errors import FileChangedError, attempt
from pipeline.storage.local import StagedFile, clear_staging, sync_all, walk

FILES_AT_ONCE = 64  # one flush takes as long for many
T = TypeVar("T")
R = TypeVar("R")


class LocalBackend(Backend):
    """A local folder or file.

    Args:
        path: of it; a relative path is taken from the working directory.
    """

    is_local = True

    def __init__(self, path: str) -> None:
        super().__init__(LocalFileSystem(), os.path.abspath(path))

    def uri(self, key: str) -> str:
        """See :class:`pipeline.storage.storage.Storage`, as for all below."""
        return posixpath.join(self.root, key) if key else self.root

    def list_files(self, below: str, dead_links: bool) -> Iterator[StoredFile]:
        for path, status in walk(self.path(below)):
            name = os.path.relpath(path, self.root).encode("utf-8", "surrogateescape")
            key = name.decode("utf-8", "backslashreplace")
            if status:
                yield _stored_file(key, status)
            elif dead_links:
                yield StoredFile(key, 0, LINK_TO_NOTHING)

    def stat(self, key: str) -> StoredFile:
        return _stored_file(key, os.stat(self.path(key)))

    def read(self, key: str, version: str | None, span: tuple[int, int] | None, size_bytes: int | None) -> bytes:
        path, (start, end) = self.path(key), span or (0, None)
        with open(path, "rb") as file:
            file.seek(start)
            data = file.read() if end is None else file.read(end - start)
            if version and _stored_file(key, os.fstat(file.fileno())).version != version:
                raise FileChangedError(path)
        return data

    def write(self, key: str, data: bytes) -> None:
        self._put(key, data)

    def write_all(self, files: Iterable[tuple[str, bytes]], check: Callable[[], None]) -> Iterator[Exception | None]:
        for group in _in_groups(files, FILES_AT_ONCE):
            staged = [attempt(self._stage, *file) for file in group]
            _, unsafe = attempt(sync_all, [file for file, _ in staged if file])
            for file, fault in staged:
                yield attempt(file.place, os.replace, check)[1] if file and not unsafe else fault or unsafe

    def upload(self, key: str, path: str) -> None:
        self._put(key, path)

    def create(self, key: str, data: bytes) -> None:
        self._put(key, data, os.link)

    def clear_staging(self) -> None:
        clear_staging(self.root)

    def in_parallel(self, work: Callable[[T], R], items: Iterable[T], even_local: bool = False) -> Iterator[R]:
        yield from super().in_parallel(work, items) if even_local else map(work, items)

    def _stage(self, key: str, content: bytes | str) -> StagedFile:
        return StagedFile(self.root, self.path(key), content)

    def _put(self, key: str, content: bytes | str, move: Callable[[str, str], None] = os.replace) -> None:
        for tries_left in (1, 0):
            staged = self._stage(key, content)
            try:
                sync_all([staged])
                staged.place(move)
                return
            except FileNotFoundError:  # another run has cleared the folder of unfinished files at this moment
                if not tries_left:
                    raise


def _in_groups(items: Iterable[T], size: int) -> Iterator[Iterator[T]]:
    iterator = iter(items)
    for first in iterator:
        yield chain((first,), islice(iterator, size - 1))


def _stored_file(key: str, status: os.stat_result) -> StoredFile:
    return StoredFile(key, status.st_size, f"{status.st_size}-{status.st_mtime_ns}")
