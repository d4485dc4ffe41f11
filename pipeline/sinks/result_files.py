"""Checks result files, images and shards, against the hashes in their rows and names."""

import errno
import hashlib
from typing import NamedTuple

from pipeline.records import RESULT_DAMAGED, RESULT_MISSING
from pipeline.sinks.shards import format_of, name_agrees
from pipeline.storage.storage import Storage

READ_BYTES = 4 << 20
SHOWN_DIGITS = 16  # of a hash in a message


class Expected(NamedTuple):
    """The results that rows expect in one file.

    Args:
        key: below the sink.
        results: sample, member of the shard, and SHA-256 of each result in it.
    """

    key: str
    results: list[tuple[str, str | None, str]]


class Fault(NamedTuple):
    """A missing or damaged result.

    Args:
        sample_id: of the row.
        kind: ``RESULT_DAMAGED`` or ``RESULT_MISSING``.
        message: description for a person.
    """

    sample_id: str
    kind: str
    message: str


def faults_of(sink: Storage, expected: Expected) -> tuple[int, list[Fault]]:
    """Read one file and compare its results.

    Returns:
        Number of bytes read, and the faulty results.

    Raises:
        OSError: the storage does not answer.
    """
    try:
        if expected.results[0][1] is None:
            return _of_image(sink, expected)
        return _of_shard(sink, expected)
    except FileNotFoundError:
        return 0, [_fault(expected, row, "does not exist", RESULT_MISSING) for row in expected.results]
    except OSError as error:
        if not (sink.is_local and error.errno == errno.EIO):
            raise
        return 0, [_fault(expected, row, f"cannot be read: {error.strerror}") for row in expected.results]


def _of_image(sink: Storage, expected: Expected) -> tuple[int, list[Fault]]:
    data = sink.read(expected.key)
    digest = hashlib.sha256(data).hexdigest()
    return len(data), [
        _fault(expected, row, f"has the SHA-256 {digest[:SHOWN_DIGITS]}…, its row says {row[2][:SHOWN_DIGITS]}…")
        for row in expected.results
        if row[2] != digest
    ]


def _of_shard(sink: Storage, expected: Expected) -> tuple[int, list[Fault]]:
    """Compare a shard with the hash in its name: if they agree, all of its content is intact."""
    size_bytes, digest = 0, hashlib.sha256()
    with sink.open(expected.key, READ_BYTES) as file:
        while block := file.read(READ_BYTES):
            size_bytes += len(block)
            digest.update(block)
    if name_agrees(expected.key, digest.hexdigest()):
        return size_bytes, []
    return size_bytes, _of_members(sink, expected)


def _of_members(sink: Storage, expected: Expected) -> list[Fault]:
    """Find the damaged results of a shard: all of them if it is unreadable, or if the damage is outside the results.

    The next run copies the others to a new shard, so the old one must be readable for them.
    """
    wanted = {member: digest for _, member, digest in expected.results}
    whole: set[str] = set()
    shard_format = format_of(expected.key)
    try:
        with sink.open(expected.key, READ_BYTES) as file:
            for member in shard_format.read(file):
                if hashlib.sha256(shard_format.image_of(member)).hexdigest() == wanted.get(member.name):
                    whole.add(member.name)
    except Exception as error:  # noqa: BLE001 - the storage has just answered, so the content is at fault
        reason = f"cannot be read as a shard: {error}"
        return [_fault(expected, row, reason) for row in expected.results]
    if whole.issuperset(wanted):
        return [_fault(expected, row, "is damaged beside its results") for row in expected.results]
    return [
        _fault(expected, row, f"holds {row[1]} damaged or not at all")
        for row in expected.results
        if row[1] not in whole
    ]


def _fault(expected: Expected, row: tuple[str, str | None, str], text: str, kind: str = RESULT_DAMAGED) -> Fault:
    return Fault(row[0], kind, f"{expected.key} {text}")
