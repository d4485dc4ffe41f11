"""Reads and writes the quantised coefficients of JPEG files: sequential and progressive, Huffman codes, 8 bits.

Source: ITU-T T.81, annex B.
"""

from dataclasses import dataclass, field

import numpy as np

from pipeline.codecs.jpeg.entropy import CODE_BYTES, LONGEST, TABLES, Plane, ScanOrder, read_scan, write_scan
from pipeline.codecs.jpeg.scans import read_picture
from pipeline.codecs.jpeg_markers import START_OF_SCAN, segments

_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), 0xC2
_HUFFMAN_TABLES, _QUANTISATION_TABLES, _RESTART_INTERVAL = 0xC4, 0xDB, 0xDD
_END_OF_IMAGE = b"\xff\xd9"
_MAX_SCANS = 100  # usual scripts have ten
_BLOCK = 64


class UnsupportedJpegError(ValueError):
    """A kind of JPEG that is not read here, or a damaged one."""


@dataclass(frozen=True)
class Component:
    """One component of a picture.

    Args:
        plane: its blocks.
        step_x, step_y: pixels per sample.
        table: its quantisation, (64,) float32 in zigzag order.
    """

    plane: Plane
    step_x: int
    step_y: int
    table: np.ndarray


@dataclass
class Coefficients:
    """The coefficients of the first picture in a JPEG file, and how they are stored.

    Args:
        frame: marker of its frame header.
        frame_header: the content of that segment.
        components: in the order of the header.
        tables: the quantisation tables by number, each as in its segment: precision and number, and values.
        scans: the contents of their headers, in order.
    """

    frame: int
    frame_header: bytes
    components: list[Component] = field(default_factory=list)
    tables: dict[int, bytes] = field(default_factory=dict)
    scans: list[bytes] = field(default_factory=list)

    def order(self, header: bytes, restart: int = 0) -> ScanOrder:
        """Return what a scan's header says."""
        numbers, count = self.frame_header[6::3], header[0]
        chosen, tables = header[1 : 1 + 2 * count : 2], header[2 : 2 + 2 * count : 2]
        first, last, precision = header[1 + 2 * count :]
        return ScanOrder(
            planes=[self.components[numbers.index(number)].plane for number in chosen],
            dc=[table >> 4 for table in tables],
            ac=[table & 15 for table in tables],
            is_progressive=self.frame == _PROGRESSIVE,
            first=first,
            last=last,
            high=precision >> 4,
            low=precision & 15,
            restart=restart,
        )

    def write(self, head: bytes) -> bytes:
        """Return a file with these scans; codes are the shortest, and there are no restart markers.

        Args:
            head: its beginning: all segments before the tables.

        Raises:
            ValueError: a coefficient has no code.
        """
        parts = [head, *(_segment(_QUANTISATION_TABLES, table) for table in self.tables.values())]
        parts.append(_segment(self.frame, self.frame_header))
        for header in self.scans:
            tables, data = write_scan(self.order(header))
            codes = b"".join(bytes([table // 4 << 4 | table % 4]) + code for table, code in tables.items())
            parts += [_segment(_HUFFMAN_TABLES, codes)] if codes else []
            parts += [_segment(START_OF_SCAN, header), data]
        return b"".join(parts) + _END_OF_IMAGE


def read_coefficients(data: bytes, size: tuple[int, int] | None = None) -> Coefficients:
    """Read the first picture of a file that a decoder has found to be whole.

    Args:
        data: the file.
        size: height and width that it must have, so that no header decides how much memory is needed.

    Raises:
        ValueError: a kind that is not supported, or damage.
    """
    try:
        return _read(data, size)
    except (IndexError, KeyError) as error:
        raise UnsupportedJpegError(f"headers: {error}") from error


def _read(data: bytes, size: tuple[int, int] | None) -> Coefficients:
    picture = read_picture(data)
    if picture.frame not in (*_SEQUENTIAL, _PROGRESSIVE) or not 1 <= len(picture.scans) <= _MAX_SCANS:
        raise UnsupportedJpegError(f"frame {picture.frame:#x} with {len(picture.scans)} scans")
    result = _frame(picture.frame, picture.frame_header, size)
    codes, restart, scans = np.zeros((TABLES, CODE_BYTES), np.uint8), 0, iter(picture.scans)
    for marker, start, end in segments(data):
        content = data[start + 4 : end]
        if marker == _QUANTISATION_TABLES:
            _take_quantisation(result, content)
        elif marker == _HUFFMAN_TABLES:
            _take_codes(codes, content)
        elif marker == _RESTART_INTERVAL:
            restart = int.from_bytes(content[:2], "big")
        elif marker == START_OF_SCAN:
            scan = next(scans, None)
            if scan is None:
                break
            result.scans.append(scan.header)
            read_scan(result.order(scan.header, restart), codes, data[scan.start : scan.end_in(data)])
    _use_tables(result)
    return result


def _frame(marker: int, header: bytes, size: tuple[int, int] | None) -> Coefficients:
    """Return a picture with coefficients of 0."""
    height, width = int.from_bytes(header[1:3], "big"), int.from_bytes(header[3:5], "big")
    if size not in (None, (height, width)):
        raise UnsupportedJpegError(f"{width}x{height} pixels")
    numbers, samplings = header[6::3], [(value >> 4, value & 15) for value in header[7::3]]
    is_plain = header[0] == 8 and len(header) == 6 + 3 * header[5] and len(set(numbers)) == len(numbers)
    if not is_plain or not 1 <= len(numbers) <= 4 or not height or not width:
        raise UnsupportedJpegError("frame header")
    h_max, v_max = (max(sizes) for sizes in zip(*samplings, strict=True))
    if any(not 1 <= h <= 4 or not 1 <= v <= 4 or h_max % h or v_max % v for h, v in samplings):
        raise UnsupportedJpegError("samples that are no whole number of pixels")
    columns, lines = -(-width // (8 * h_max)), -(-height // (8 * v_max))
    result = Coefficients(marker, header)
    for h, v in samplings:
        step_x, step_y = h_max // h, v_max // v
        blocks = np.zeros((lines * v, columns * h, _BLOCK), np.int16)
        plane = Plane(blocks, -(-width // (8 * step_x)), -(-height // (8 * step_y)), h, v)
        result.components.append(Component(plane, step_x, step_y, np.empty(_BLOCK, np.float32)))
    return result


def _take_quantisation(result: Coefficients, content: bytes) -> None:
    while content:
        length = 1 + (_BLOCK << (content[0] >> 4 & 1))
        table, content = content[:length], content[length:]
        if len(table) < length or result.tables.setdefault(table[0] & 15, table) != table:
            raise UnsupportedJpegError("quantisation tables that are cut or change between scans")


def _use_tables(result: Coefficients) -> None:
    """Give each component the values of its table, which may follow the header."""
    for number, component in zip(result.frame_header[8::3], result.components, strict=True):
        table = result.tables[number]
        component.table[:] = np.frombuffer(table[1:], ">u2" if table[0] >> 4 else np.uint8)
        if not component.table.all():
            raise UnsupportedJpegError("quantisation by 0")


def _take_codes(codes: np.ndarray, content: bytes) -> None:
    while content:
        kind, number, count = content[0] >> 4, content[0] & 15, sum(content[1 : 1 + LONGEST])
        code, content = content[1 : 1 + LONGEST + count], content[1 + LONGEST + count :]
        if kind > 1 or number > 3 or len(code) < LONGEST + count or count > CODE_BYTES - LONGEST:
            raise UnsupportedJpegError("Huffman table")
        codes[4 * kind + number] = 0
        codes[4 * kind + number, : len(code)] = np.frombuffer(code, np.uint8)


def _segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content


def same_coefficients(one: Coefficients, other: Coefficients) -> bool:
    """Return whether two pictures have equal headers, tables and coefficients."""
    if (one.frame_header, one.tables, one.scans) != (other.frame_header, other.tables, other.scans):
        return False
    pairs = zip(one.components, other.components, strict=True)
    return all(np.array_equal(a.plane.blocks, b.plane.blocks) for a, b in pairs)
