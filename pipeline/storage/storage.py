"""Access to files and objects; the only user of fsspec.

Writes are atomic: object stores replace whole objects, local files are written beside the data and then moved.
"""

import contextlib
import errno
import os
import posixpath
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import IO, Any, NamedTuple, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import ConfigError
from pipeline.storage.errors import FileChangedError, IncompleteReadError, answering
from pipeline.storage.local import StagedFile, clear_staging, sync_all, walk
from pipeline.storage.s3 import (
    create_object,
    delete_object,
    get_object,
    open_object,
    prepare_client,
    put_object,
    stat_object,
    upload_object,
    with_retries,
)
from pipeline.storage.s3_listing import list_objects
from pipeline.uris import public_uri

REQUESTS_AT_ONCE = 8
FILES_AT_ONCE = 64  # on a local disk, whose flush takes as long for many
T = TypeVar("T")
R = TypeVar("R")
LINK_TO_NOTHING = "link to nothing"  # in place of the version of what is not there


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
        self._threads: ThreadPoolExecutor | None = None
        local = uri.removeprefix("file://").removeprefix("local://")
        self.is_local, self.is_s3 = "://" not in local, False
        if self.is_local:  # not by url_to_fs, to which "::" in a name means more than a name
            self.filesystem, self.root = LocalFileSystem(), os.path.abspath(local)
            return
        self.is_s3 = uri.startswith(("s3://", "s3a://"))
        options = with_retries(options or {}) if self.is_s3 else options or {}
        try:
            self.filesystem, root = fsspec.core.url_to_fs(uri, use_listings_cache=False, **options)
            if self.is_s3:
                prepare_client(self.filesystem)
        except (ValueError, ImportError, TypeError, KeyError) as error:
            raise ConfigError(f"cannot open {uri!r}: {error}") from error
        self.root = root.rstrip("/")

    def __str__(self) -> str:
        return self.root if self.is_local else public_uri(self.filesystem.unstrip_protocol(self.root))

    def uri(self, key: str) -> str:
        """Return the full uri of a key (empty: the root) without secrets; an absolute path on local disks."""
        if self.is_local:
            return posixpath.join(self.root, key) if key else self.root
        return public_uri(f"{self}/{key}") if key else str(self)

    def path(self, key: str) -> str:
        """Return the path of a key (empty: the root) inside the file system.

        Raises:
            ValueError: the key would escape the root, or is no valid text.
        """
        if "\\" in key or ".." in key.split("/") or "\0" in key or (key.startswith("/") and not self.is_s3):
            raise ValueError(f"{key!r} is not a valid key below {self}")
        if self.is_s3 and key:
            return f"{self.root}/{key}"  # whose first folder may have no name
        return posixpath.join(self.root, key) if key else self.root

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
        with answering():
            return self.filesystem.isfile(self.root)

    def exists(self) -> bool:
        """Return whether anything exists at the root."""
        with answering():
            return self.filesystem.exists(self.root)

    def list_files(self, below: str = "", dead_links: bool = False) -> Iterator[StoredFile]:
        """Yield every file below the root, or below a folder of it, in no particular order, following links.

        Names that are not UTF-8 have their bytes escaped (``caf\\xe9.png``) and cannot be read.

        Args:
            below: the folder.
            dead_links: also list dangling links, with ``LINK_TO_NOTHING`` as their version.
        """
        folder = self.path(below)
        if self.is_local:
            for path, status in walk(folder):
                name = os.path.relpath(path, self.root).encode("utf-8", "surrogateescape")
                key = name.decode("utf-8", "backslashreplace")
                if status:
                    yield _local_file(key, status)
                elif dead_links:
                    yield StoredFile(key, 0, LINK_TO_NOTHING)
            return
        with answering():
            if self.is_s3:
                found = list_objects(self.filesystem, folder)
            else:
                found = self.filesystem.find(folder, detail=True).items()
            for path, info in found:
                if info.get("type", "file") == "file":
                    yield _remote_file(path[len(self.root) + 1 :], info)

    def stat(self, key: str = "") -> StoredFile:
        """Return size and version of one file.

        Raises:
            FileNotFoundError: no such file.
        """
        if self.is_local:
            return _local_file(key, os.stat(self.path(key)))
        with answering():
            path = self.path(key)
            info = stat_object(self.filesystem, path) if self.is_s3 else self.filesystem.info(path)
        return _remote_file(key, info)

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
        path = self.path(key)
        if self.is_local:
            return _read_local(path, version, span)
        with answering(FileChangedError):
            if self.is_s3:
                return get_object(self.filesystem, path, version, span, size_bytes)
            data = self.filesystem.cat_file(path, *(span or ()))
        if version and self.stat(key).version != version:
            raise FileChangedError(path)
        if span is None and size_bytes is not None and len(data) < size_bytes:
            raise IncompleteReadError(errno.EIO, f"{path}: received {len(data)} of {size_bytes} bytes")
        return data

    def open(self, key: str, block_bytes: int | None = None) -> IO[bytes]:
        """Open a file for random access, to read parts of large files in blocks."""
        with answering():
            if self.is_s3:
                return open_object(self.filesystem, self.path(key), block_bytes)
            return self.filesystem.open(self.path(key), "rb", block_size=block_bytes)

    def write(self, key: str, data: bytes) -> None:
        """Create or replace a file atomically."""
        if not self.is_local:
            with answering():
                if self.is_s3:
                    put_object(self.filesystem, self.path(key), data)
                else:
                    self.filesystem.pipe_file(self.path(key), data)
            return
        self._put(key, data)

    def write_all(
        self, files: Iterable[tuple[str, bytes]], check: Callable[[], None] = lambda: None
    ) -> Iterator[Exception | None]:
        """Write many files, faster than one by one; yield the error of each, in order, one group late.

        Args:
            files: keys and contents.
            check: called right before each file gets its name; if it raises, the file is not written.
        """

        def write(file: tuple[str, bytes]) -> None:
            check()
            self.write(*file)

        if not self.is_local:
            yield from self.in_parallel(lambda file: attempt(write, file)[1], files)
            return
        for group in _in_groups(files, FILES_AT_ONCE):
            staged = [attempt(self._stage, *file) for file in group]
            _, unsafe = attempt(sync_all, [file for file, _ in staged if file])
            for file, fault in staged:
                yield attempt(file.place, os.replace, check)[1] if file and not unsafe else fault or unsafe

    def upload(self, key: str, path: str) -> None:
        """Write a local file; a large one is uploaded to object stores in parts."""
        if not self.is_local:
            with answering():
                if self.is_s3:
                    upload_object(self.filesystem, self.path(key), path)
                else:
                    self.filesystem.put_file(path, self.path(key))
            return
        self._put(key, path)

    def create(self, key: str, data: bytes) -> None:
        """Create a file atomically, unless it exists.

        Raises:
            FileExistsError: the file exists.
            ConditionRefusedError: the storage does not support it.
        """
        if not self.is_local:
            with answering():
                if self.is_s3:
                    create_object(self.filesystem, self.path(key), data)
                else:
                    self.filesystem.pipe_file(self.path(key), data, mode="create")
            return
        self._put(key, data, os.link)

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

    def _stage(self, key: str, content: bytes | str) -> StagedFile:
        return StagedFile(self.root, self.path(key), content)

    def in_parallel(self, work: Callable[[T], R], items: Iterable[T], even_local: bool = False) -> Iterator[R]:
        """Map a function over items with several requests at once on remote storages, a few items ahead.

        Args:
            work: called from threads.
            items: its arguments; results are in their order.
            even_local: use threads for local disks as well.
        """
        if self.is_local and not even_local:
            yield from map(work, items)
            return
        if self._threads is None:
            self._threads = ThreadPoolExecutor(REQUESTS_AT_ONCE)
        under_way: deque[Future[R]] = deque()
        for item in items:
            under_way.append(self._threads.submit(work, item))
            if len(under_way) > 2 * REQUESTS_AT_ONCE:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()

    def delete(self, key: str) -> None:
        """Remove a file if it exists."""
        with contextlib.suppress(FileNotFoundError), answering():
            if self.is_s3:
                delete_object(self.filesystem, self.path(key))
            else:
                self.filesystem.rm_file(self.path(key))

    def clear_staging(self) -> None:
        """Remove temporary files of killed processes; the caller must hold the lease."""
        if self.is_local:
            clear_staging(self.root)


def _in_groups(items: Iterable[T], size: int) -> Iterator[Iterator[T]]:
    iterator = iter(items)
    for first in iterator:
        yield chain((first,), islice(iterator, size - 1))


def attempt(work: Callable[..., R], *given: Any) -> tuple[R | None, Exception | None]:
    """Call a function, and return its result and its exception."""
    try:
        return work(*given), None
    except Exception as error:  # noqa: BLE001 - the caller's to judge
        return None, error


def _read_local(path: str, version: str | None, span: tuple[int, int] | None) -> bytes:
    start, end = span or (0, None)
    with open(path, "rb") as file:
        file.seek(start)
        data = file.read() if end is None else file.read(end - start)
        if version and _local_file("", os.fstat(file.fileno())).version != version:
            raise FileChangedError(path)
    return data


def _local_file(key: str, status: os.stat_result) -> StoredFile:
    return StoredFile(key, status.st_size, f"{status.st_size}-{status.st_mtime_ns}")


def _remote_file(key: str, info: Mapping[str, Any]) -> StoredFile:
    etag = info.get("ETag") or info.get("etag") or info.get("md5Hash")
    changed = info.get("mtime") or info.get("LastModified") or info.get("last_modified") or info.get("created")
    version = str(etag).strip('"') if etag else f"{info['size']}-{changed}"
    return StoredFile(key, int(info["size"] or 0), version)
