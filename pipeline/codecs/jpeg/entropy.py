"""Huffman codes of JPEG scans, by compiled functions."""

import ctypes
import heapq
from ctypes import POINTER, byref, c_int32, c_int64, c_long, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from moebius.c_library import load_library

TABLES, SYMBOLS, LONGEST = 8, 256, 16  # tables: four of DC, then four of AC
CODE_BYTES = LONGEST + SYMBOLS  # how many codes have each length, and their symbols
_NEVER = SYMBOLS  # stands for the code of only ones, which is reserved


class UnsupportedScanError(ValueError):
    """A scan that these functions do not read or write."""


class _Component(ctypes.Structure):
    _fields_ = (
        ("blocks", c_void_p),
        *((name, c_int32) for name in ("width", "own_width", "own_lines", "h", "v", "dc", "ac")),
    )


class _Scan(ctypes.Structure):
    _fields_ = (
        ("component", _Component * 4),
        *((name, c_int32) for name in ("count", "is_progressive", "first", "last", "high", "low")),
        *((name, c_int32) for name in ("columns", "lines", "restart")),
    )


@dataclass(frozen=True)
class Plane:
    """The blocks of one component.

    Args:
        blocks: (lines, columns, 64) int16, C-contiguous: quantised coefficients in zigzag order; with the blocks that
            fill up the last units.
        own_columns, own_lines: without these.
        h, v: blocks per unit.
    """

    blocks: np.ndarray
    own_columns: int
    own_lines: int
    h: int
    v: int


@dataclass(frozen=True)
class ScanOrder:
    """Which coefficients of which components a scan holds.

    Args:
        planes: 1 … 4 different ones.
        dc, ac: the tables of each, 0 … 3.
        is_progressive: if not, the scan holds all coefficients.
        first, last: coefficients in zigzag order; only one plane can have others than the first.
        high, low: bits of precision that are left before and after the scan.
        restart: units between restart markers, which are read but not written; 0 for none.
    """

    planes: list[Plane]
    dc: list[int]
    ac: list[int]
    is_progressive: bool
    first: int
    last: int
    high: int
    low: int
    restart: int = 0

    def __post_init__(self) -> None:
        if not 1 <= len(self.planes) <= 4 or len({id(plane) for plane in self.planes}) < len(self.planes):
            raise UnsupportedScanError("components of a scan")
        whole = (self.first, self.last, self.high, self.low) == (0, 63, 0, 0)
        only_dc, only_ac = self.last == 0, len(self.planes) == 1 and 0 < self.first <= self.last < 64
        is_step = self.low < 14 and self.high in (0, self.low + 1) and self.first >= 0
        if not (whole if not self.is_progressive else is_step and (only_dc or only_ac)):
            raise UnsupportedScanError("coefficients of a scan")
        if not all(0 <= number < 4 for number in (*self.dc, *self.ac)):
            raise UnsupportedScanError("tables of a scan")

    def in_c(self) -> _Scan:
        """Return the structure that the functions take; it is valid as long as the planes are."""
        scan, first = _Scan(), self.planes[0]
        for to, plane, dc, ac in zip(scan.component, self.planes, self.dc, self.ac, strict=False):
            lines, columns, _ = plane.blocks.shape
            assert plane.blocks.flags.c_contiguous and plane.blocks.dtype == np.int16
            assert plane.own_columns <= columns and plane.own_lines <= lines
            assert (columns // plane.h, lines // plane.v) == (
                first.blocks.shape[1] // first.h,
                first.blocks.shape[0] // first.v,
            )
            to.blocks = plane.blocks.ctypes.data
            to.width, to.own_width, to.own_lines = columns, plane.own_columns, plane.own_lines
            to.h, to.v, to.dc, to.ac = plane.h, plane.v, dc, 4 + ac
        scan.count, scan.is_progressive, scan.restart = len(self.planes), self.is_progressive, self.restart
        scan.first, scan.last, scan.high, scan.low = self.first, self.last, self.high, self.low
        scan.columns, scan.lines = first.blocks.shape[1] // first.h, first.blocks.shape[0] // first.v
        return scan


@cache
def _library() -> ctypes.CDLL:
    library = load_library(Path(__file__).parent, ("entropy.c",), (), [])
    scan, pointer = POINTER(_Scan), POINTER(c_int64)
    library.read_scan.argtypes = [scan, c_void_p, ctypes.c_char_p, c_long]
    library.count_symbols.argtypes = [scan, c_void_p, pointer]
    library.write_scan.argtypes = [scan, c_void_p, c_void_p, c_long, pointer]
    return library


def check_available() -> None:
    """Compile the functions, if that has not been done.

    Raises:
        OSError: there is no C compiler, it fails, or its library cannot be loaded.
    """
    _library()


def read_scan(order: ScanOrder, codes: np.ndarray, data: bytes) -> None:
    """Read the data of a scan into its planes.

    Args:
        order: the scan.
        codes: (8, 272) uint8: of each table how many codes have 1 … 16 bits, and the symbols.
        data: without the marker behind it.

    Raises:
        UnsupportedScanError: the data is damaged.
    """
    assert codes.shape == (TABLES, CODE_BYTES) and codes.dtype == np.uint8 and codes.flags.c_contiguous
    _check(_library().read_scan(byref(order.in_c()), codes.ctypes.data, data, len(data)))


def write_scan(order: ScanOrder) -> tuple[dict[int, bytes], bytes]:
    """Write a scan with the shortest codes for it.

    Returns:
        The tables that it needs, by number (0 … 7): the lengths of their codes and their symbols; and its data.

    Raises:
        UnsupportedScanError: a coefficient has no code.
    """
    scan, frequencies, extra_bits = order.in_c(), np.zeros((TABLES, SYMBOLS), np.int64), c_int64()
    _check(_library().count_symbols(byref(scan), frequencies.ctypes.data, byref(extra_bits)))
    tables = {table: shortest_code(counts) for table, counts in enumerate(frequencies) if counts.any()}
    codes = np.zeros((TABLES, CODE_BYTES), np.uint8)
    for table, code in tables.items():
        codes[table, : len(code)] = np.frombuffer(code, np.uint8)
    bits = extra_bits.value + sum(int(_lengths(code) @ frequencies[table]) for table, code in tables.items())
    data, written = np.empty(2 * (bits // 8 + 2), np.uint8), c_int64()  # each byte may be FF, with 00 behind it
    _check(_library().write_scan(byref(scan), codes.ctypes.data, data.ctypes.data, len(data), byref(written)))
    return tables, data[: written.value].tobytes()


def _check(status: int) -> None:
    if status:
        raise UnsupportedScanError(f"a scan is damaged or has values beyond 8 bits ({status})")


def _lengths(code: bytes) -> np.ndarray:
    """Return the bits of each symbol's code, (256,)."""
    lengths = np.zeros(SYMBOLS, np.int64)
    lengths[list(code[LONGEST:])] = np.repeat(np.arange(1, LONGEST + 1), list(code[:LONGEST]))
    return lengths


def shortest_code(frequencies: np.ndarray) -> bytes:
    """Return the code of at most 16 bits, none of them only ones, for the frequencies (256,) of symbols.

    Source: ITU-T T.81, annex K.2.
    """
    counted = {symbol: count for symbol, count in enumerate(frequencies.tolist()) if count} | {_NEVER: 1}
    heap = [(count, -symbol, [symbol]) for symbol, count in counted.items()]
    heapq.heapify(heap)
    lengths = dict.fromkeys(counted, 0)
    while len(heap) > 1:
        rare, other = heapq.heappop(heap), heapq.heappop(heap)
        for symbol in (merged := rare[2] + other[2]):
            lengths[symbol] += 1
        heapq.heappush(heap, (rare[0] + other[0], min(rare[1], other[1]), merged))
    counts = [0] * (max(max(lengths.values()), LONGEST) + 1)
    for length in lengths.values():
        counts[length] += 1
    for length in range(len(counts) - 1, LONGEST, -1):
        while counts[length]:  # a pair moves up: one to its parent, the other beside the next shorter leaf
            shorter = next(bits for bits in range(length - 2, 0, -1) if counts[bits])
            counts[length] -= 2
            counts[length - 1] += 1
            counts[shorter] -= 1
            counts[shorter + 1] += 2
    longest = next(bits for bits in range(LONGEST, 0, -1) if counts[bits])
    counts[longest] -= 1
    del lengths[_NEVER]
    symbols = [symbol for _, symbol in sorted((length, symbol) for symbol, length in lengths.items())]
    return bytes(counts[1 : LONGEST + 1]) + bytes(symbols)
