"""Checks of tar headers that :mod:`tarfile` does not make."""

import re
import tarfile
from collections.abc import Iterable

_PAX_TYPES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_LONG_TYPES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_MAGIC, _MAGIC_AT = b"ustar", 257  # in all headers but those of the oldest kind


def header_fault(block: bytes) -> str:
    """Return why a block is no valid header; empty if it is one."""
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        return str(error)
    return ""


def has_shifted_header(data: bytes, at: int) -> bool:
    """Return whether a valid header is shortly before or behind its expected offset, after lost or added bytes.

    Args:
        data: end of a member, and two blocks behind it.
        at: where in them the next header should begin. A block behind that, less a byte, may be the one after it.
    """
    starts = (found.start() - _MAGIC_AT for found in re.finditer(_MAGIC, data))
    near = (start for start in starts if 0 <= start < at + tarfile.BLOCKSIZE - 1)
    blocks = (data[start : start + tarfile.BLOCKSIZE] for start in near)
    return any(block[:1] != b"\0" and not header_fault(block) for block in blocks)  # a zero is no name


def check_extensions(blocks: Iterable[bytes]) -> None:
    """Check that the extended headers before a member are intact; no checksum protects them.

    Raises:
        tarfile.ReadError: one is not; tarfile would take what it can read of it.
    """
    rest = iter(blocks)
    for block in rest:
        kind = block[156:157]
        if kind not in (*_PAX_TYPES, *_LONG_TYPES):
            return
        size = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape").size
        data = next(rest, b"")[:size]
        if len(data) < size or not (_has_whole_records(data) if kind in _PAX_TYPES else _is_one_text(data)):
            raise tarfile.ReadError("an extended header is damaged")


def _has_whole_records(data: bytes) -> bool:
    """Return whether a PAX header consists of records such as ``20 path=folder/7.jpg`` and a line feed."""
    while data.rstrip(b"\0"):
        length, blank, _ = data[:20].partition(b" ")
        if not (blank and length.isdigit() and int(length) <= len(data)):
            return False
        key, equals, value = data[len(length) + 1 : int(length)].partition(b"=")
        if not (key and equals and value.endswith(b"\n")) or (key == b"size" and not value[:-1].isdigit()):
            return False
        data = data[int(length) :]
    return True


def _is_one_text(data: bytes) -> bool:
    return bool(data) and b"\0" not in data.rstrip(b"\0")
