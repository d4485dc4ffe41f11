"""Reads headers of Parquet pages, which PyArrow does not expose: structs in Thrift's compact protocol."""

from dataclasses import dataclass
from typing import Any

_STOP, _I32, _STRUCT = 0, 5, 12  # types of the protocol
_MAX_DEPTH = 4
_MAX_VARINT_BYTES = 10


class BrokenPageError(Exception):
    """A page header is invalid."""


@dataclass(frozen=True)
class Page:
    """The header of a page.

    Args:
        header_bytes: length of the header.
        expanded_bytes: of the page once decompressed.
        stored_bytes: of the page in the file, without the header.
        value_count: of a data page, nulls included.
    """

    header_bytes: int
    expanded_bytes: int
    stored_bytes: int
    value_count: int


def read_header(data: bytes) -> Page:
    """Read the header of a page.

    Raises:
        IndexError: the data ends inside the header.
        BrokenPageError: it is invalid.
    """
    fields, header_bytes = _read_struct(data, 0)
    expanded_bytes, stored_bytes = fields.get(2, -1), fields.get(3, -1)
    details = [fields[number] for number in (5, 8) if isinstance(fields.get(number), dict)]  # data page, version 1 or 2
    value_count = max((detail.get(1, 0) for detail in details), default=0)
    if not all(isinstance(size, int) and size >= 0 for size in (expanded_bytes, stored_bytes, value_count)):
        raise BrokenPageError(f"a page header says {expanded_bytes} and {stored_bytes} bytes, {value_count} values")
    return Page(header_bytes, expanded_bytes, stored_bytes, value_count)


def _read_struct(data: bytes, at: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """Return the fields of a Thrift struct that are 32-bit numbers or structs, and its end."""
    fields: dict[int, Any] = {}
    number = 0
    while (kind := data[at] & 15) != _STOP:
        delta, at = data[at] >> 4, at + 1
        if delta:
            number += delta
        else:
            number, at = _read_i32(data, at)
        if kind == _STRUCT and depth < _MAX_DEPTH:
            fields[number], at = _read_struct(data, at, depth + 1)
        elif kind == _I32:
            fields[number], at = _read_i32(data, at)
        else:
            at = _skip(kind, data, at)
    return fields, at + 1


def _skip(kind: int, data: bytes, at: int) -> int:
    """Return the end of a value of another type: 1 and 2 booleans, 3 byte, 4 and 6 numbers, 7 double, 8 text."""
    if kind in (1, 2):
        return at
    if kind in (4, 6):
        return _read_varint(data, at)[1]
    if kind == 8:
        length, at = _read_varint(data, at)
        return at + length
    if kind in (3, 7):
        return at + (1 if kind == 3 else 8)
    raise BrokenPageError(f"a page header has a field of the type {kind}")


def _read_i32(data: bytes, at: int) -> tuple[int, int]:
    value, at = _read_varint(data, at)
    if value >> 32:  # PyArrow truncates it, and would continue at another offset
        raise BrokenPageError(f"a page header holds a number of more than 32 bits: {value}")
    return (value >> 1) ^ -(value & 1), at


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        value |= (data[at + index] & 0x7F) << 7 * index
        if data[at + index] < 0x80:
            return value, at + index + 1
    raise BrokenPageError(f"a page header holds a number of more than {_MAX_VARINT_BYTES} bytes")
