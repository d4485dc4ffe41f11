"""Reads large JSON files one element at a time."""

import codecs
import json
import re
from collections.abc import Collection, Iterator
from typing import IO, Any

CHUNK_BYTES = 1 << 20
MAX_CHARS = 1 << 28  # of one element
UNDECIDED_CHARS = 3  # such as .5 or e+5 behind 1, which is a number without them, too
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def read_arrays(file: IO[bytes], required: Collection[str], optional: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Yield the elements of arrays in a JSON object with the key of their array, in the order of the file.

    Args:
        file: one object, in UTF-8, 16 or 32, with or without a byte order mark.
        required: keys of mandatory arrays.
        optional: keys of optional arrays; all others are skipped.

    Raises:
        ValueError: the file is no such object.
    """
    text, missing = _Text(file), set(required)
    text.take("{")
    is_empty = text.peek() == "}"
    while not is_empty:
        key = text.value()
        text.take(":")
        is_wanted = key in required or key in optional
        missing.discard(key)
        if text.peek() == "[":
            for element in _elements(text):
                if is_wanted:
                    yield key, element
        elif is_wanted:
            raise ValueError(f"{key} is not a list")
        else:
            text.value()
        if text.peek() == "}":
            break
        text.take(",")
    text.take("}")
    text.take("")
    if missing:
        raise ValueError(f"it has no {' and no '.join(sorted(missing))}")


def read_array(file: IO[bytes]) -> Iterator[Any]:
    """Yield the elements of a JSON array.

    Args:
        file: one array, in UTF-8, 16 or 32, with or without a byte order mark.

    Raises:
        ValueError: the file is no such array.
    """
    text = _Text(file)
    yield from _elements(text)
    text.take("")


def _elements(text: "_Text") -> Iterator[Any]:
    text.take("[")
    while text.peek() != "]":
        yield text.value()
        if text.peek() != "]":
            text.take(",")
    text.take("]")


class _Text:
    """The text of a file; only the part that is being decoded is in memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._start = file, file.read(4)
        self._decode = codecs.getincrementaldecoder(json.detect_encoding(self._start))().decode
        self._buffer, self._position, self._is_whole = "", 0, False

    def peek(self) -> str:
        """Return the next character that is no space; empty at the end."""
        while True:
            match = _SPACE.match(self._buffer, self._position)
            assert match is not None  # it matches nothing, too
            self._position = match.end()
            if self._position < len(self._buffer):
                return self._buffer[self._position]
            if self._is_whole:
                return ""
            self._read()

    def take(self, expected: str) -> None:
        """Consume the expected character; an empty one expects the end of the file."""
        if self.peek() != expected:
            raise ValueError(f"expected {expected or 'the end'!r}, got {self.peek() or 'the end'!r}")
        self._position += len(expected)

    def value(self) -> Any:
        """Decode and consume the next value."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._buffer, self._position)
            except ValueError:
                if self._is_whole or len(self._buffer) - self._position > MAX_CHARS:
                    raise
            else:
                if end + UNDECIDED_CHARS < len(self._buffer) or self._is_whole:
                    self._position = end
                    return value
            self._read()

    def _read(self) -> None:
        """Read more text, at least as much as is held, so that a long value is decoded few times."""
        held = self._buffer[self._position :]
        data = self._start + self._file.read(max(CHUNK_BYTES, len(held)))
        self._start, self._is_whole = b"", not data
        self._buffer, self._position = held + self._decode(data, final=not data), 0
