"""Extends s3fs: paged listings, conditional reads in one request, and bounded retries."""

import asyncio
import contextlib
import errno
import random
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import IO, Any

from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError, FlexibleChecksumError
from botocore.handlers import add_expect_header
from botocore.utils import parse_timestamp
from fsspec import AbstractFileSystem
from fsspec.asyn import sync
from s3fs.core import S3_RETRYABLE_ERRORS

from pipeline.storage.content_types import content_type
from pipeline.storage.errors import (
    ConditionRefusedError,
    FileChangedError,
    IncompleteReadError,
    answering,
    http_status,
)

PART_BYTES = 32 << 20  # a larger read is several requests at once
PARTS_AT_ONCE = 4
MAX_PUT_BYTES = 100 << 20  # in one request
SIGNATURE_BYTES = 16  # tell what an object holds
TRIES, FIRST_PAUSE_S, MAX_PAUSE_S = 5, 0.2, 10.0
CONNECTIONS = 32
CONFLICT, NOT_IMPLEMENTED = 409, 501


def with_retries(options: Mapping[str, Any]) -> dict[str, Any]:
    """Add defaults to s3fs options: retry throttled and timed-out requests with random exponential backoff.

    botocore's "standard" mode retries only these and server errors, never a refusal.
    """
    client = {"retries": {"mode": "standard", "max_attempts": TRIES}, "max_pool_connections": CONNECTIONS}
    return {**options, "config_kwargs": client | dict(options.get("config_kwargs", {}))}


def prepare_client(filesystem: AbstractFileSystem) -> None:
    """Create the client; requests to a silent server end after botocore's own retries.

    While a client waits for a server to ask for the body of a PUT (``Expect: 100-continue``), no time-out runs.

    Raises:
        TypeError, ValueError: invalid options.
    """
    filesystem.retries = 1  # botocore repeats a request; s3fs would repeat all of that
    if filesystem.session is None:
        filesystem.session = AioSession(**filesystem.kwargs)
        filesystem.session.unregister("before-call.s3", add_expect_header)
        parsers = filesystem.session.get_component("response_parser_factory")
        parsers.set_parser_defaults(timestamp_parser=parse_time)
    try:
        filesystem.connect()
    except BotoCoreError as error:
        if isinstance(error, ValueError):
            raise
        # Else it is what this machine has, such as half of its credentials; the first request says so, too.


def parse_time(text: Any) -> datetime:
    """Parse a time of an answer; botocore's own parser takes three quarters of the time of a listing.

    >>> str(parse_time("2026-01-01T10:00:00.000Z")), str(parse_time("Thu, 01 Jan 2026 10:00:00 GMT"))
    ('2026-01-01 10:00:00+00:00', '2026-01-01 10:00:00+00:00')
    """
    if isinstance(text, str) and text.endswith("Z"):
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(text)
    parsed: datetime = parse_timestamp(text)
    return parsed


def stat_object(filesystem: AbstractFileSystem, path: str) -> Mapping[str, Any]:
    """Return size and etag of ``bucket/key``; after a refused HEAD, send a GET, whose error has a reason.

    s3fs would parse a part of some keys as a version, or drop a slash.
    """
    bucket, _, key = path.partition("/")
    try:
        facts = filesystem.call_s3("head_object", Bucket=bucket, Key=key)
    except OSError as error:
        if isinstance(error, PermissionError) or error.errno == errno.EINVAL:  # by status 403 or 400
            get_object(filesystem, path, None, (0, 1))
        raise
    return {"size": facts["ContentLength"], **facts}


def open_object(filesystem: AbstractFileSystem, path: str, block_bytes: int | None) -> IO[bytes]:
    """Open an object for random access; parts are read by :func:`get_object`."""
    facts = stat_object(filesystem, path)
    etag = str(facts.get("ETag") or "").strip('"')
    file = filesystem.open(path, "rb", block_size=block_bytes, size=facts["size"])

    def fetch(start: int, end: int) -> bytes:
        with answering(FileChangedError):
            return get_object(filesystem, path, etag, (start, end))

    file.cache.fetcher = fetch
    return file


def put_object(filesystem: AbstractFileSystem, path: str, data: bytes, only_if_absent: bool = False) -> None:
    """Store ``bucket/key`` with its media type, for keys of any characters; a large object in parts."""
    kind = content_type(path, data[:SIGNATURE_BYTES])
    if len(data) > MAX_PUT_BYTES:
        filesystem.pipe_file(path, data, mode="create" if only_if_absent else "overwrite", ContentType=kind)
        return
    bucket, _, key = path.partition("/")
    condition = {"IfNoneMatch": "*"} if only_if_absent else {}
    filesystem.call_s3("put_object", Bucket=bucket, Key=key, Body=data, ContentType=kind, **condition)


def upload_object(filesystem: AbstractFileSystem, path: str, local_path: str) -> None:
    """Store a local file as ``bucket/key`` with its media type; a large one in parts."""
    with open(local_path, "rb") as file:
        kind = content_type(path, file.read(SIGNATURE_BYTES))
    filesystem.put_file(local_path, path, ContentType=kind)


def delete_object(filesystem: AbstractFileSystem, path: str) -> None:
    """Remove ``bucket/key`` if it exists."""
    bucket, _, key = path.partition("/")
    filesystem.call_s3("delete_object", Bucket=bucket, Key=key)


def create_object(filesystem: AbstractFileSystem, path: str, data: bytes) -> None:
    """Store ``bucket/key`` unless it exists.

    A conflict of concurrent requests is retried: it does not tell which of them was first.

    Raises:
        ConditionRefusedError: the server does not support conditional PUT.
        OSError: with status 412 of the server where the object exists.
    """
    for attempt in range(TRIES):
        try:
            put_object(filesystem, path, data, only_if_absent=True)
            return
        except OSError as error:
            if http_status(error) == NOT_IMPLEMENTED:
                raise ConditionRefusedError(errno.ENOSYS, f"NotImplemented: {error.strerror or error}") from error
            if http_status(error) != CONFLICT or attempt == TRIES - 1:
                raise
        time.sleep(_pause_s(attempt))


def get_object(
    filesystem: AbstractFileSystem,
    path: str,
    etag: str | None,
    span: tuple[int, int] | None,
    size_bytes: int | None = None,
) -> bytes:
    """Read bytes of an object; s3fs would request the size first, each time.

    Args:
        path: ``bucket/key``.
        etag: required etag of the object, without quotes.
        span: first byte and the one behind the last, large ones in parts; ``None`` reads all in one request.
        size_bytes: of the whole object, where it is known.

    Raises:
        IncompleteReadError: the server repeatedly sends too few bytes.
        OSError: with status 412 of the server if the object has changed.
    """
    bucket, _, key = path.partition("/")
    request = {"Bucket": bucket, "Key": key} | ({"IfMatch": f'"{etag}"'} if etag else {})
    if span is None:
        return _get(filesystem, request, size_bytes)
    start, end = span
    if end - start <= PART_BYTES:
        return _get_span(filesystem, request, start, end)
    with ThreadPoolExecutor(PARTS_AT_ONCE) as threads:
        starts = range(start, end, PART_BYTES)
        return b"".join(threads.map(lambda at: _get_span(filesystem, request, at, min(at + PART_BYTES, end)), starts))


def _get_span(filesystem: AbstractFileSystem, request: Mapping[str, str], start: int, end: int) -> bytes:
    return _get(filesystem, {**request, "Range": f"bytes={start}-{end - 1}"}, end - start)


def _get(filesystem: AbstractFileSystem, request: Mapping[str, str], size_bytes: int | None) -> bytes:
    return sync(filesystem.loop, _read, filesystem, request, size_bytes)


async def _read(filesystem: AbstractFileSystem, request: Mapping[str, str], size_bytes: int | None) -> bytes:
    """Send one GET; repeat it where the body is damaged, since botocore repeats only what fails before the body."""
    for attempt in range(TRIES):
        # No public call returns the body as a stream; this one adds the session and the retries of s3fs.
        body = (await filesystem._call_s3("get_object", **request))["Body"]
        try:
            data = await body.read()
            if size_bytes is None or len(data) == size_bytes:
                return data
            raise IncompleteReadError(
                errno.EIO, f"{request['Bucket']}/{request['Key']}: received {len(data)} of {size_bytes} bytes"
            )
        except (*S3_RETRYABLE_ERRORS, FlexibleChecksumError, IncompleteReadError):
            if attempt == TRIES - 1:
                raise
        finally:
            body.close()
        await asyncio.sleep(_pause_s(attempt))
    raise AssertionError("unreachable")


def _pause_s(attempt: int) -> float:
    return random.uniform(0, min(MAX_PAUSE_S, FIRST_PAUSE_S * 2**attempt))
