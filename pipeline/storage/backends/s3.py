"""S3: a remote storage, by the requests of :mod:`pipeline.storage.s3` instead of those of s3fs."""

from collections.abc import Iterator, Mapping
from typing import IO, Any

from pipeline.storage.backends.remote import RemoteBackend, opening
from pipeline.storage.errors import FileChangedError, answering
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


class S3Backend(RemoteBackend):
    """A bucket or a prefix of it.

    Args:
        uri: ``s3://bucket/prefix``.
        options: of s3fs.

    Raises:
        ConfigError: options that the client does not take.
    """

    is_s3 = has_nameless_folders = True

    def __init__(self, uri: str, options: Mapping[str, Any]) -> None:
        super().__init__(uri, with_retries(options))
        with opening(uri):
            prepare_client(self.filesystem)

    def _find(self, folder: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        return list_objects(self.filesystem, folder)

    def _info(self, path: str) -> Mapping[str, Any]:
        return stat_object(self.filesystem, path)

    @answering(FileChangedError)
    def read(self, key: str, version: str | None, span: tuple[int, int] | None, size_bytes: int | None) -> bytes:
        """See :class:`pipeline.storage.storage.Storage`, as for all below."""
        return get_object(self.filesystem, self.path(key), version, span, size_bytes)

    @answering()
    def open(self, key: str, block_bytes: int | None) -> IO[bytes]:
        return open_object(self.filesystem, self.path(key), block_bytes)

    @answering()
    def write(self, key: str, data: bytes) -> None:
        put_object(self.filesystem, self.path(key), data)

    @answering()
    def upload(self, key: str, path: str) -> None:
        upload_object(self.filesystem, self.path(key), path)

    @answering()
    def create(self, key: str, data: bytes) -> None:
        create_object(self.filesystem, self.path(key), data)

    def _delete(self, path: str) -> None:
        delete_object(self.filesystem, path)
