"""Finds out whether an ONNX file keeps weights in other files, and how many it has, without loading it.

A file may name any path for its weights, so a model from elsewhere could read files of this machine. The encoding is
that of protocol buffers; messages that can hold a tensor are searched, everything else is skipped.
"""

import math
from collections.abc import Iterator

MAX_DEPTH = 64  # of graphs inside nodes

# For each message, the fields that lead to a tensor, by number.
_FIELDS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_DIMENSIONS, _EXTERNAL_DATA, _DATA_LOCATION = 1, 13, 14  # of a tensor
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5


def has_external_data(model: bytes) -> bool:
    """Return whether a tensor of a model is stored outside its file.

    Raises:
        ValueError: the bytes are no ONNX model.
    """
    return any(map(_is_external, _tensors(memoryview(model), "model", 0)))


def count_parameters(model: bytes) -> int:
    """Return how many numbers the tensors of a model hold.

    Raises:
        ValueError: the bytes are no ONNX model.
    """
    return sum(map(_size, _tensors(memoryview(model), "model", 0)))


def _tensors(message: memoryview, kind: str, depth: int) -> Iterator[memoryview]:
    if depth > MAX_DEPTH:
        raise ValueError("graphs are nested too deeply")
    if kind == "tensor":
        yield message
        return
    fields = _FIELDS[kind]
    for number, value in _parts(message):
        if isinstance(value, memoryview) and number in fields:
            yield from _tensors(value, fields[number], depth + 1)


def _is_external(tensor: memoryview) -> bool:
    return any(number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value) for number, value in _parts(tensor))


def _size(tensor: memoryview) -> int:
    sides: list[int] = []
    for number, value in _parts(tensor):
        if number == _DIMENSIONS:
            sides += [value] if isinstance(value, int) else _varints(value)
    return math.prod(sides)


def _varints(packed: memoryview) -> Iterator[int]:
    place = 0
    while place < len(packed):
        value, place = _varint(packed, place)
        yield value


def _parts(message: memoryview) -> Iterator[tuple[int, "memoryview | int"]]:
    """Yield number and value of each field of a message."""
    place, end = 0, len(message)
    while place < end:
        tag, place = _varint(message, place)
        kind = tag & 7
        value: memoryview | int = 0
        if kind == _VARINT:
            value, place = _varint(message, place)
        elif kind in (_FIXED_64, _FIXED_32):
            place += 8 if kind == _FIXED_64 else 4
        elif kind == _BYTES:
            length, place = _varint(message, place)
            value, place = message[place : place + length], place + length
        else:
            raise ValueError(f"a field has the unknown type {kind}")
        if place > end:
            raise ValueError("a field is cut off")
        yield tag >> 3, value


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(message) and shift < 70:
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
    raise ValueError("a number is cut off")
