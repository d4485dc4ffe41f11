"""Checks that a PNG file is intact: checksums of chunks, and the number of bytes of pixels."""

import zlib
from itertools import dropwhile, takewhile

import imagecodecs
import numpy as np

from pipeline.codecs.png.chunks import SIGNATURE, read_chunks
from pipeline.errors import SampleError

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)  # x, y, steps
_ANCILLARY = 0x20  # this bit of a name says that no pixel depends on the chunk


def check_chunks(data: bytes, stage: str) -> None:
    """Check the checksum of every chunk up to IEND, including ancillary ones.

    Raises:
        SampleError: a chunk is cut off or damaged; the message names it.
    """
    position = len(SIGNATURE)
    while position + 8 <= len(data):
        length, name = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        end, shown = position + 8 + length, name.decode("ascii", "backslashreplace")
        if end + 4 > len(data):
            raise SampleError(stage, "TruncatedImage", f"PNG is truncated: it ends inside its {shown} chunk")
        if zlib.crc32(memoryview(data)[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            hint = "; it holds no pixels: save the file again to drop it" if name[0] & _ANCILLARY else ""
            message = f"PNG is damaged: the checksum of its {shown} chunk is wrong{hint}"
            raise SampleError(stage, "BrokenImage", message)
        position = end + 4
        if name == b"IEND":
            return


def check_rows(data: bytes, stage: str) -> None:
    """Check that the pixels of a PNG with whole chunks unpack to as many bytes as its header says; more do no harm.

    Raises:
        SampleError: rows are missing or damaged.
    """
    chunks = list(read_chunks(data))
    header = next((content for name, content in chunks if name == b"IHDR"), b"")
    if len(header) != 13 or header[9] not in _CHANNELS:
        raise SampleError(stage, "BrokenImage", "PNG without a valid header")
    expected = _unpacked_bytes(header)
    from_pixels = dropwhile(lambda chunk: chunk[0] != b"IDAT", chunks)
    compressed = b"".join(content for _, content in takewhile(lambda chunk: chunk[0] == b"IDAT", from_pixels))
    try:
        rows = imagecodecs.deflate_decode(compressed, raw=False, out=np.empty(expected, np.uint8))  # type: ignore[arg-type]
        found = np.asarray(rows).size
    except imagecodecs.DeflateError:  # damaged, or more than is expected
        found = _count_by_zlib(compressed, expected, stage)
    if found < expected:
        raise SampleError(
            stage, "TruncatedImage", f"PNG is truncated: its pixels end after {found} of {expected} unpacked bytes"
        )


def _count_by_zlib(compressed: bytes, expected: int, stage: str) -> int:
    stream = zlib.decompressobj()
    try:
        found = len(stream.decompress(compressed, expected))
        stream.decompress(stream.unconsumed_tail, 1)  # the checksum, where nothing more follows
    except zlib.error as error:
        raise SampleError(stage, "BrokenImage", f"PNG has damaged pixels: {error}") from error
    return found


def _unpacked_bytes(header: bytes) -> int:
    """Return how many bytes all rows have with their filters, by the content of IHDR."""
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    pixel_bits = header[8] * _CHANNELS[header[9]]
    passes = _ADAM7 if header[12] else ((0, 0, 1, 1),)
    sizes = ((-(-(width - x) // step_x), -(-(height - y) // step_y)) for x, y, step_x, step_y in passes)
    return sum(rows * (1 + -(-columns * pixel_bits // 8)) for columns, rows in sizes if columns > 0 and rows > 0)
