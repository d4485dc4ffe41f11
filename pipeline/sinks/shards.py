"""Shards of results.

A shard is completed on the local disk and named by the hash of its content and its number of samples. Reprocessing a
unit creates the same shard or one that no row names; a shard with fewer rows than samples holds replaced results.
"""

import hashlib
import posixpath
import re
import tempfile
from collections.abc import Iterator
from functools import cache
from typing import IO

import pyarrow as pa

from pipeline.records import Record
from pipeline.sinks.format import Member, Shard
from pipeline.sinks.registry import SINK_FORMATS

DIGEST_DIGITS = 16  # of the hash in a shard's name
_NAME = re.compile(rf"(?:.*/)?[0-9a-f]{{{DIGEST_DIGITS}}}-(\d+)(\.\w+)\Z")


@cache
def shard_formats() -> dict[str, type[Shard]]:
    """Return all formats of shards by their suffix."""
    formats = map(SINK_FORMATS.load, SINK_FORMATS)
    return {format.suffix: format for format in formats if format.is_sharded}


def format_of(key: str) -> type[Shard]:
    """Return the format of a shard by its name."""
    return shard_formats()[posixpath.splitext(key)[1]]


def sample_count(key: str) -> int | None:
    """Return the number of samples in a shard's name; ``None`` if the name is not one of our shards."""
    match = _NAME.match(key)
    return int(match[1]) if match and match[2] in shard_formats() else None


def name_agrees(key: str, digest: str) -> bool:
    """Return whether a shard's name contains this SHA-256.

    Args:
        key: of the shard.
        digest: hexadecimal, of its whole content.
    """
    return posixpath.basename(key).startswith(f"{digest[:DIGEST_DIGITS]}-")


class ShardWriter:
    """Writes a shard to an unnamed temporary file, which the system deletes when the process ends.

    Args:
        suffix: of the names of a format's shards.
    """

    def __init__(self, suffix: str) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by ``__exit__``
        self._shard = shard_formats()[suffix](self._file)
        self.sample_count = self.size_bytes = 0

    @property
    def path(self) -> str:
        """Path of the temporary file for this process."""
        return f"/dev/fd/{self._file.fileno()}"

    def add(self, record: Record, result: bytes, carried: pa.RecordBatch) -> str:
        """Append a sample and return the name of its member."""
        name = self._shard.add(record, result, carried)
        self._count(len(result))
        return name

    def take_over(self, member: Member) -> str:
        """Append a sample of another shard and return the name that it has here."""
        self._count(0)
        return self._shard.take_over(member)

    def _count(self, size_bytes: int) -> None:
        self.sample_count += 1
        self.size_bytes += size_bytes

    def finish(self) -> str:
        """Complete the file and return its name."""
        self._shard.close()
        self._file.flush()
        self._file.seek(0)
        digest = hashlib.sha256()
        while block := self._file.read(1 << 20):
            digest.update(block)
        self._file.seek(0)
        return f"{digest.hexdigest()[:DIGEST_DIGITS]}-{self.sample_count:05}{self._shard.suffix}"

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def read_shard(key: str, file: IO[bytes]) -> Iterator[Member]:
    """Yield the samples of a shard written by this module."""
    return format_of(key).read(file)
