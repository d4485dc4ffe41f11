"""Every location that fsspec has a client for."""

import contextlib
import errno
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import fsspec

from pipeline.errors import ConfigError
from pipeline.storage.backends.base import Backend, StoredFile
from pipeline.storage.errors import FileChangedError, IncompleteReadError, answering, attempt
from pipeline.uris import public_uri


class RemoteBackend(Backend):
    """A location of fsspec, by the calls that all clients have.

    Args:
        uri: of fsspec.
        options: of its client.

    Raises:
        ConfigError: an unknown protocol, a missing package for it, or options that its client does not take.
    """

    def __init__(self, uri: str, options: Mapping[str, Any]) -> None:
        with opening(uri):
            filesystem, root = fsspec.core.url_to_fs(uri, use_listings_cache=False, **options)
        super().__init__(filesystem, root.rstrip("/"))

    def uri(self, key: str) -> str:
        """See :class:`pipeline.storage.storage.Storage`, as for all below."""
        root = public_uri(self.filesystem.unstrip_protocol(self.root))
        return public_uri(f"{root}/{key}") if key else root

    def list_files(self, below: str, dead_links: bool) -> Iterator[StoredFile]:
        folder = self.path(below)
        with answering():
            for path, info in self._find(folder):
                if info.get("type", "file") == "file":
                    yield _stored_file(path[len(self.root) + 1 :], info)

    def _find(self, folder: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
        return self.filesystem.find(folder, detail=True).items()

    def stat(self, key: str) -> StoredFile:
        with answering():
            info = self._info(self.path(key))
        return _stored_file(key, info)

    def _info(self, path: str) -> Mapping[str, Any]:
        return self.filesystem.info(path)

    def read(self, key: str, version: str | None, span: tuple[int, int] | None, size_bytes: int | None) -> bytes:
        path = self.path(key)
        with answering(FileChangedError):
            data = self.filesystem.cat_file(path, *(span or ()))
        if version and self.stat(key).version != version:
            raise FileChangedError(path)
        if span is None and size_bytes is not None and len(data) < size_bytes:
            raise IncompleteReadError(errno.EIO, f"{path}: received {len(data)} of {size_bytes} bytes")
        return data

    @answering()
    def write(self, key: str, data: bytes) -> None:
        self.filesystem.pipe_file(self.path(key), data)

    def write_all(self, files: Iterable[tuple[str, bytes]], check: Callable[[], None]) -> Iterator[Exception | None]:
        def write(file: tuple[str, bytes]) -> None:
            check()
            self.write(*file)

        return self.in_parallel(lambda file: attempt(write, file)[1], files)

    @answering()
    def upload(self, key: str, path: str) -> None:
        self.filesystem.put_file(path, self.path(key))

    @answering()
    def create(self, key: str, data: bytes) -> None:
        self.filesystem.pipe_file(self.path(key), data, mode="create")

    def clear_staging(self) -> None:
        pass  # an object is not visible before it is whole


@contextlib.contextmanager
def opening(uri: str) -> Iterator[None]:
    """Translate errors of opening a uri, and of options for its client, to ``ConfigError``."""
    try:
        yield
    except (ValueError, ImportError, TypeError, KeyError) as error:
        raise ConfigError(f"cannot open {uri!r}: {error}") from error


def _stored_file(key: str, info: Mapping[str, Any]) -> StoredFile:
    etag = info.get("ETag") or info.get("etag") or info.get("md5Hash")
    changed = info.get("mtime") or info.get("LastModified") or info.get("last_modified") or info.get("created")
    version = str(etag).strip('"') if etag else f"{info['size']}-{changed}"
    return StoredFile(key, int(info["size"] or 0), version)
