"""Reads the files that uris in a table or a list lead to: in its own storage, and at allowed origins."""

import os
import re
from functools import lru_cache
from urllib.parse import unquote

from pipeline.errors import SampleError
from pipeline.sources.http import HttpFiles, forbidden
from pipeline.sources.inputs import read_file, readable, too_many_bytes
from pipeline.sources.wanted import Wanted
from pipeline.storage.storage import Storage
from pipeline.uris import DEFAULT_PORTS, LOCAL_SCHEMES, AllowedOrigins, protocol_of, public_uri, scheme_of

STORAGES = 64  # are kept open
MAX_URI_LENGTH = 8192  # a signed one has up to some thousand characters
_ONE_SLASH = re.compile(r"(file|local):(?=/(?!/))", re.IGNORECASE)  # as Hadoop and Java write absolute paths


class LinkedFiles:
    """Reads files by their uris, absolute or relative to a source; may be called from several threads.

    Args:
        wanted: by the job.
        source: storage that relative uris belong to.
        uri: of that storage where it is not the source's.
    """

    def __init__(self, wanted: Wanted, source: Storage, uri: str | None = None) -> None:
        self._source, self._max_bytes = source, wanted.max_bytes
        root = wanted.source.root_uri
        self._protocol, self._options = protocol_of(uri or root), wanted.storage_options
        self._allowed = AllowedOrigins([root, uri or root], wanted.source.hosts)
        self._http = HttpFiles(self._allowed, self._max_bytes)
        self._open = lru_cache(STORAGES)(self._open_storage)

    def read(self, stage: str, uri: str, version: str = "", size_bytes: int = 0) -> bytes:
        """Return the content of a file.

        Args:
            stage: that needs it.
            uri: as in the table.
            version: etag that an object must still have; empty if it is not known.
            size_bytes: of the file; 0 if it is not known.

        Raises:
            SampleError: its origin is not allowed, or it is missing or too large.
            OSError: the storage does not answer.
        """
        if len(uri) > MAX_URI_LENGTH:
            message = f"a uri has {len(uri)} characters, at most {MAX_URI_LENGTH} are taken"
            raise SampleError(stage, "UnusableName", message)
        uri = _ONE_SLASH.sub(r"\1://", uri, count=1) if _ONE_SLASH.match(uri) else uri
        scheme = scheme_of(uri)
        if scheme in LOCAL_SCHEMES and self._source.is_local:
            scheme, uri = "", _local_path(uri)
        if not scheme:
            if os.path.isabs(uri) and self._source.is_local:
                return self._from(stage, self._open(os.path.dirname(uri)), os.path.basename(uri))
            return self.read_key(stage, uri, version, size_bytes)  # which refuses what is not below it
        self._check(stage, uri)
        if scheme in DEFAULT_PORTS:
            return self._http.read(stage, uri)
        folder = uri.rpartition("/")[0].rstrip("/")  # to most storages an empty name of a folder is a name
        storage, key = self._open(f"{scheme}{folder[len(scheme) :]}"), uri[len(folder) + 1 :]
        return self._from(stage, storage, key, version, size_bytes)

    def read_key(self, stage: str, key: str, version: str = "", size_bytes: int = 0) -> bytes:
        """Return the content of a file of the source's own storage; else as :meth:`read`."""
        return self._from(stage, self._source, key, version, size_bytes)

    def _check(self, stage: str, uri: str) -> None:
        """Refuse uris that would use the job's credentials, or reach into its network, against the configuration.

        Raises:
            SampleError: the uri has no origin, or one that is not allowed.
        """
        if scheme_of(uri) in LOCAL_SCHEMES:
            message = f"{uri} is a file of the workers, which only a local source may name"
            raise SampleError(stage, "ForbiddenUri", message)
        try:
            is_allowed = uri in self._allowed
        except ValueError as error:
            raise SampleError(stage, "UnusableName", str(error)) from error
        if not is_allowed:
            raise forbidden(stage, public_uri(uri), uri)

    def _open_storage(self, uri: str) -> Storage:
        """Open another origin; one of another kind gets none of the source's credentials."""
        return Storage(uri, self._options if protocol_of(uri) == self._protocol else {})

    def _from(self, stage: str, storage: Storage, key: str, version: str = "", size_bytes: int = 0) -> bytes:
        etag = version if storage.is_s3 else ""
        if not (etag and size_bytes):  # else the request itself tells whether both are right
            with readable(stage, storage, key):
                size_bytes = storage.stat(key).size_bytes
        if refusal := too_many_bytes(size_bytes, self._max_bytes):
            raise refusal
        return read_file(stage, storage, key, etag, size_bytes=size_bytes)


def _local_path(uri: str) -> str:
    """Return the path of a ``file://`` uri, unescaped unless it exists as it is, since not all writers escape."""
    path = uri.partition("://")[2]
    if path.lower().startswith("localhost/"):
        path = path[len("localhost") :]
    unescaped = unquote(path)
    return unescaped if os.path.exists(unescaped) and not os.path.exists(path) else path
