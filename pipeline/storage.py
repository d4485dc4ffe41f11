"""All access to files and objects: the only user of fsspec.

A write is atomic everywhere: object stores replace whole objects, local files are written beside the data and moved.
"""

import contextlib
import os
import posixpath
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import ConfigError

STAGING = ".staging"
PRECONDITION_FAILED = 412


@dataclass(frozen=True)
class StoredFile:
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

    Args:
        uri: local path or fsspec uri; a relative path is taken from the working directory.
        options: options of the file system, such as ``endpoint_url`` and ``key``; they never appear in messages.

    Raises:
        ConfigError: an unknown protocol or a missing package for it.
    """

    def __init__(self, uri: str, options: Mapping[str, Any] | None = None) -> None:
        is_local = "://" not in uri or uri.startswith(("file://", "local://"))
        settings = {} if is_local else {"use_listings_cache": False, **(options or {})}
        try:
            self.filesystem, self.root = fsspec.core.url_to_fs(uri, **settings)
        except (ValueError, ImportError, TypeError) as error:
            raise ConfigError(f"cannot open {uri!r}: {error}") from error
        self.root = self.root.rstrip("/") or "/"
        self.is_local = isinstance(self.filesystem, LocalFileSystem)

    def __str__(self) -> str:
        return self.root if self.is_local else self.filesystem.unstrip_protocol(self.root)

    def uri(self, key: str) -> str:
        """Full uri of a key, of the root for an empty one; a plain absolute path on local disks."""
        return posixpath.join(str(self), key) if key else str(self)

    def path(self, key: str) -> str:
        """Path of a key inside the file system.

        Raises:
            ValueError: a key that would leave the root.
        """
        if key.startswith("/") or "\\" in key or ".." in key.split("/") or "\0" in key:
            raise ValueError(f"{key!r} would leave {self}")
        return posixpath.join(self.root, key)

    def is_file(self) -> bool:
        """Whether the root itself is one file."""
        return self.filesystem.isfile(self.root)

    def exists(self) -> bool:
        """Whether anything lies at the root."""
        return self.filesystem.exists(self.root)

    def list_files(self, below: str = "") -> Iterator[StoredFile]:
        """Every file below the root, or below a folder of it, in no particular order."""
        folder = posixpath.join(self.root, below) if below else self.root
        for path, info in self.filesystem.find(folder, detail=True).items():
            if info["type"] != "file":  # some servers list emptied folders
                continue
            yield StoredFile(posixpath.relpath(path, self.root), int(info["size"] or 0), _version(info))

    def stat(self, key: str = "") -> StoredFile:
        """Size and version of one file.

        Raises:
            FileNotFoundError: no such file.
        """
        info = self.filesystem.info(self.path(key) if key else self.root)
        return StoredFile(key, int(info["size"] or 0), _version(info))

    def read(self, key: str = "") -> bytes:
        """The bytes of a key, or of the root where it is a file."""
        return self.filesystem.cat_file(self.path(key) if key else self.root)

    def write(self, key: str, data: bytes) -> None:
        """Create or replace a file in one step: a reader finds the old or the new one, never a part."""
        if not self.is_local:
            self.filesystem.pipe_file(self.path(key), data)
            return
        with self._staged(data) as staged:
            os.makedirs(posixpath.dirname(self.path(key)), exist_ok=True)
            os.replace(staged, self.path(key))

    def create(self, key: str, data: bytes) -> None:
        """Create a file in one step, unless it exists.

        Raises:
            FileExistsError: someone was first.
        """
        if not self.is_local:
            try:
                self.filesystem.pipe_file(self.path(key), data, mode="create")
            except OSError as error:
                if _status(error) == PRECONDITION_FAILED:  # how s3fs reports some servers' "it exists"
                    raise FileExistsError(self.uri(key)) from error
                raise
            return
        with self._staged(data) as staged:
            os.makedirs(posixpath.dirname(self.path(key)), exist_ok=True)
            os.link(staged, self.path(key))

    def delete(self, key: str) -> None:
        """Remove a file; nothing happens where there is none."""
        with contextlib.suppress(FileNotFoundError):
            self.filesystem.rm_file(self.path(key))

    @contextlib.contextmanager
    def _staged(self, data: bytes) -> Iterator[str]:
        """A complete temporary file on the same disk, outside everything that readers look at."""
        folder = posixpath.join(self.root, STAGING)
        os.makedirs(folder, exist_ok=True)
        path = posixpath.join(folder, uuid.uuid4().hex)
        try:
            with open(path, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield path
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _version(info: Mapping[str, Any]) -> str:
    etag = info.get("ETag") or info.get("etag") or info.get("md5Hash")
    if etag:
        return str(etag).strip('"')
    changed = info.get("mtime") or info.get("LastModified") or info.get("last_modified") or info.get("created")
    return f"{info['size']}-{changed}"


def _status(error: OSError) -> int | None:
    """HTTP status behind an error of s3fs."""
    response = getattr(error.__cause__, "response", {})
    return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
