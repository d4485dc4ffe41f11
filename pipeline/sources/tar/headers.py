"""Reads headers of tar shards so that no damage is skipped silently.

:mod:`tarfile` treats an unreadable header as the end of the archive; this module checks that position again.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipeline.sources.tar.checks import check_extensions, has_shifted_header, header_fault

MAX_HEADER_BYTES = 1 << 20  # of a member: long names and extended attributes, which are read into memory
SEARCHED_BYTES = 64 << 10  # before an offset without a header, to find one that was shifted
BROKEN = (tarfile.TarError, EOFError)
_UNREADABLE = (tarfile.TarError, ValueError, OverflowError, RecursionError)  # the last of headers upon headers


class BrokenHeaderError(tarfile.ReadError):
    """There is no header at an expected offset.

    Args:
        message: describes what is there.
        spoils_last: whether the member before it may be damaged as well, since all bytes seem to be shifted.
    """

    def __init__(self, message: str, spoils_last: bool = False) -> None:
        super().__init__(message)
        self.spoils_last = spoils_last


class UnmarkedEndError(tarfile.ReadError):
    """A shard ends behind a member without the blocks of zeros that mark the end."""


@dataclass(frozen=True)
class Bounds:
    """Limits of offsets in a shard.

    Args:
        end: size of the shard in bytes, ``None`` if unknown.
        expansion: maximum decompressed bytes of a compressed shard, ``None`` of a plain one.
    """

    end: int | None = None
    expansion: int | None = None

    def check(self, end: int, what: str) -> None:
        """Check that an offset is within the limits.

        Raises:
            tarfile.ReadError: it is not.
        """
        if self.end is not None and end > self.end:
            raise tarfile.ReadError(
                f"{what} should end at byte {end}, and the shard ends at byte {self.end}: it is cut"
            )
        if self.expansion is not None and end > self.expansion:
            raise tarfile.ReadError(f"{what} is at byte {end}, over 100 times the size of the compressed shard")


class _Member(tarfile.TarInfo):
    """A member that is named as GNU tar names it, whose incremental archives have times where POSIX has a prefix."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> "_Member":
        """See :meth:`tarfile.TarInfo.frombuf`, which puts those times before the name."""
        member = super().frombuf(buf, encoding, errors)
        if buf[257:265] == tarfile.GNU_MAGIC:
            name = bytes(buf[:100]).partition(b"\0")[0].decode(encoding, errors)
            member.name = name.rstrip("/") if member.isdir() else name
        return member


class Header(NamedTuple):
    """The header of a member, and which of the archives in its shard holds it."""

    archive: int
    member: tarfile.TarInfo


class HeaderFile:
    """A shard of which only headers are read, those of one member at a time.

    Args:
        file: the shard, decompressed.
    """

    def __init__(self, file: Any) -> None:
        self._file, self._ahead = file, b""
        self.blocks: list[bytes] = []  # of the member at hand
        self._left = MAX_HEADER_BYTES

    def begin(self) -> None:
        """Continue with the next member."""
        self.blocks, self._left = [], MAX_HEADER_BYTES

    def read(self, size: int) -> bytes:
        """Read, as of a file.

        Raises:
            tarfile.ReadError: a header that is too long.
        """
        self._left -= size
        if self._left < 0:
            raise tarfile.ReadError(f"a header of a member has more than {MAX_HEADER_BYTES} bytes, which is too many")
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        if len(data) < size:
            data += self._file.read(size - len(data))
        if size != 1:  # which tarfile reads to see whether data reach as far
            self.blocks.append(data)
        return data

    def tell(self) -> int:
        """Return the position, as of a file."""
        return self._file.tell() - len(self._ahead)

    def seek(self, position: int) -> None:
        """Go to a position, as of a file."""
        self._ahead = b""
        self._file.seek(position)

    def skip_zeros(self, bounds: Bounds) -> bool:
        """Go to the next block that is not all zeros, and tell whether there is one.

        Raises:
            tarfile.ReadError: the shard is too long, or ends inside a block.
        """
        while len(block := self._file.read(tarfile.BLOCKSIZE)) == tarfile.BLOCKSIZE:
            if any(block):
                self._ahead = block
                return True
            bounds.check(self._file.tell(), "a run of zeros")
        if block:
            raise BrokenHeaderError(
                f"the shard ends at byte {self._file.tell()}, inside a block: it is cut, or bytes of it are lost"
            )
        return False


def read_headers(file: Any, bounds: Bounds) -> Iterator[Header]:
    """Yield the headers of a shard, including concatenated archives.

    Raises:
        UnmarkedEndError: all headers were read, but no end mark follows.
        one of ``BROKEN``: not a tar file, damaged, cut, or expanding without measure; at which byte, and what is there.
    """
    headers, archive = HeaderFile(file), 0
    goes_on = True
    while goes_on:
        yield from (Header(archive, member) for member in _archive(headers, bounds))
        goes_on = headers.skip_zeros(bounds)
        archive += 1


def _archive(headers: HeaderFile, bounds: Bounds) -> Iterator[tarfile.TarInfo]:
    """Yield members up to the first block of zeros."""
    shard: Any = None
    at, last = headers.tell(), None
    while True:
        headers.begin()
        try:
            if shard is None:  # which reads the first header already
                files: Any = headers
                shard = tarfile.TarFile(fileobj=files, tarinfo=_Member, encoding="utf-8", errors="surrogateescape")
            member = shard.next()
            if member is None:
                break
            shard.members = []  # else it keeps all of them
            _check_member(member, shard.offset, headers, bounds)
        except _UNREADABLE as error:
            raise BrokenHeaderError(f"at byte {at}: {error}") from error
        yield member
        bounds.check(shard.offset, f"the padding of {member.name}")
        at, last = shard.offset, member
    _check_end(headers, at, last, bounds)


def _check_member(member: tarfile.TarInfo, behind: int, headers: HeaderFile, bounds: Bounds) -> None:
    """Check that a member is completely inside its shard.

    Raises:
        tarfile.ReadError: it does not.
    """
    if (
        member.size < 0 or behind <= member.offset
    ):  # the next header would be one that was read before, in an endless loop
        raise tarfile.ReadError(f"{member.name} has a size of {member.size} bytes")
    check_extensions(headers.blocks)
    has_data = behind > member.offset_data and not member.issparse()
    end = member.offset_data + member.size if has_data else behind
    bounds.check(end, member.name)
    if bounds.end is None and end > member.offset_data:
        headers.seek(end - 1)
        if not headers.read(1):
            raise tarfile.ReadError(f"{member.name} should end at byte {end}, and the shard ends before: it is cut")


def _check_end(headers: HeaderFile, at: int, last: tarfile.TarInfo | None, bounds: Bounds) -> None:
    """Check that the archive really ends where tarfile found no further header.

    Args:
        headers: have read what is there.
        at: first byte of that.
        last: member before it.
        bounds: of the shard.
    """
    block = headers.blocks[0] if headers.blocks else b""
    if not block:
        raise UnmarkedEndError(f"at byte {at}: the shard ends there without an end mark")
    if len(block) < tarfile.BLOCKSIZE:
        raise BrokenHeaderError(f"at byte {at}: a header is cut after {len(block)} of {tarfile.BLOCKSIZE} bytes")
    if not any(block):
        return
    fault = header_fault(block) or "its size or extension is damaged"
    reason = f"expected a header of a member, found {block[:16]!r} ({fault})"
    if last is None or bounds.end is None:
        raise BrokenHeaderError(f"at byte {at}: {reason}")
    start = max(last.offset_data, at - SEARCHED_BYTES)
    headers.seek(start)
    headers.begin()
    if has_shifted_header(headers.read(at - start + 2 * tarfile.BLOCKSIZE), at - start):
        reason += "; bytes before it were lost or added, so the sample there is not taken"
        raise BrokenHeaderError(f"at byte {at}: {reason}", spoils_last=True)
    raise BrokenHeaderError(f"at byte {at}: {reason}")
