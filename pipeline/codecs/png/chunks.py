"""PNG files from pixels and chunks: faster than Pillow's and smaller, with all that a file said beside its pixels."""

import struct
import zlib
from collections.abc import Callable, Iterator

import imagecodecs
import numpy as np

from pipeline.codecs.codec import METRES_PER_INCH

SIGNATURE = b"\x89PNG\r\n\x1a\n"
LEVEL = 4  # of libdeflate: with these filters about the size of zlib's level 6, several times faster
ROWS_AT_ONCE = 32  # that stay in the cache
SAMPLES, SAMPLE_ROWS = 4, 8  # that a filter is chosen by
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels: grey, grey and alpha, colour, colour and alpha
# Colour space and resolution, with the lengths that they have; sBIT too where the channels are still the same.
_LENGTHS = {
    **{b"cHRM": (32,), b"gAMA": (4,), b"sRGB": (1,), b"cICP": (4,), b"mDCV": (24,), b"cLLI": (8,), b"pHYs": (9,)},
    b"sBIT": (1, 2, 3, 4),
}
_KEPT = (*_LENGTHS, b"iCCP", b"eXIf", b"tEXt", b"zTXt", b"iTXt")
_PROFILE_NAME = b"ICC profile"
_XMP_KEYWORD = b"XML:com.adobe.xmp\0\0\0\0\0"
# Bytes of an ICC profile: the most with which Pillow opens a PNG, and the most that is no bomb to us.
MAX_PILLOW_PROFILE_BYTES, MAX_PROFILE_BYTES = (1 << 20) - 1, 16 << 20
Chunk = tuple[bytes, bytes]


def metadata_chunks(data: bytes) -> list[Chunk]:
    """Names and contents of the chunks of a PNG file that still hold when its pixels have changed."""
    return [(name, content) for name, content in read_chunks(data) if name in _KEPT]


def needed_by_pixels(chunks: list[Chunk], exif: bytes, icc_profile: bytes) -> list[Chunk]:
    """Return only the chunks of colour space and resolution, each once and of its exact length, and new ones.

    Args:
        chunks: of the source, whose EXIF and ICC profile are not used.
        exif, icc_profile: see :func:`new_chunks`.
    """
    sound = [chunk for chunk in chunks if len(chunk[1]) in _LENGTHS.get(chunk[0], ())]
    first = dict(reversed(sound))  # readers ignore further ones
    return [*first.items(), *new_chunks(exif, icc_profile)]


def stored_profile(chunks: list[Chunk]) -> bytes:
    """Return the ICC profile among chunks, the first where there are several; empty if there is none."""
    return next((_unpacked_profile(content) for name, content in chunks if name == b"iCCP"), b"")


def large_profile(data: bytes) -> bytes:
    """Return the ICC profile of a PNG file if Pillow refuses to unpack so much; empty if not, or if it is a bomb."""
    start, end = _profile_chunk(data)
    profile = _unpacked_profile(data[start + 8 : end - 4])
    return profile if len(profile) > MAX_PILLOW_PROFILE_BYTES else b""


def without_large_profile(data: bytes) -> bytes:
    """Return a PNG file that Pillow opens: without its ICC profile where that is large."""
    if not data.startswith(SIGNATURE) or not large_profile(data):
        return data
    start, end = _profile_chunk(data)
    return data[:start] + data[end:]


def _unpacked_profile(content: bytes) -> bytes:
    """Return the profile in an iCCP chunk; empty if it is damaged or a bomb."""
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(content.partition(b"\0")[2][1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return b""
    return profile if unpacker.eof else b""


def _profile_chunk(data: bytes) -> tuple[int, int]:
    """Start and end of the chunk with the ICC profile, which precedes the pixels; two zeros where there is none."""
    position = len(SIGNATURE)
    for name, content in read_chunks(data):
        if name == b"iCCP":
            return position, position + 12 + len(content)
        if name == b"IDAT":
            break
        position += 12 + len(content)
    return 0, 0


def new_chunks(
    exif: bytes = b"", icc_profile: bytes = b"", xmp: bytes | str = b"", dpi: tuple[float, float] | None = None
) -> list[Chunk]:
    """Chunks for what another format said beside its pixels."""
    chunks = []
    if dpi:
        pixels_per_metre = (round(float(value) / METRES_PER_INCH) for value in dpi)
        chunks.append((b"pHYs", struct.pack(">IIB", *pixels_per_metre, 1)))
    if icc_profile:
        chunks.append((b"iCCP", _PROFILE_NAME + b"\0\0" + zlib.compress(icc_profile)))
    if exif:
        chunks.append((b"eXIf", exif.removeprefix(b"Exif\0\0")))
    if xmp:
        chunks.append(xmp_chunk(xmp.encode() if isinstance(xmp, str) else xmp))
    return chunks


def xmp_chunk(xmp: bytes) -> Chunk:
    """Return the chunk that holds XMP."""
    return b"iTXt", _XMP_KEYWORD + xmp


def encode_png(pixels: np.ndarray, chunks: list[Chunk]) -> bytes:
    """Encode pixels and chunks as a PNG file.

    Args:
        pixels: (H, W) or (H, W, 2 … 4), uint8 or uint16.
        chunks: what to say beside them.
    """
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    depth = 8 * pixels.itemsize
    rows = np.ascontiguousarray(pixels, f">u{pixels.itemsize}").view(np.uint8).reshape(height, -1)
    compressed = deflate(_filtered(rows, channels * pixels.itemsize))
    written = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, _COLOUR_TYPES[channels], 0, 0, 0)),
        *((name, content) for name, content in chunks if name != b"sBIT" or len(content) == channels),
        (b"IDAT", compressed),
        (b"IEND", b""),
    ]
    return SIGNATURE + b"".join(map(framed, written))


def deflate(data: np.ndarray, level: int = LEVEL) -> bytes:
    """A zlib stream of an array's bytes."""
    return bytes(imagecodecs.deflate_encode(data, level=level, raw=False))  # type: ignore[arg-type] # any buffer


def read_chunks(data: bytes) -> Iterator[Chunk]:
    """Names and contents of the chunks of a PNG file, unchecked, up to where it ends or is cut off."""
    position = len(SIGNATURE)
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        yield data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        position += 12 + length


def framed(chunk: Chunk) -> bytes:
    """Encode a chunk as in a file: length, name, content, checksum."""
    name, content = chunk
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(name)))


def _filtered(rows: np.ndarray, pixel_bytes: int) -> np.ndarray:
    """Apply to rows, (H, bytes) uint8, the filter by which a sample of them compresses best: (H, 1 + bytes) uint8."""
    starts = np.linspace(0, max(len(rows) - SAMPLE_ROWS, 0), SAMPLES).astype(int)
    sample = [rows[start : start + SAMPLE_ROWS] for start in starts]

    def sample_bytes(kind: int) -> int:
        parts = np.concatenate([_apply(kind, part, pixel_bytes) for part in sample])
        return len(deflate(parts, level=1))

    return _apply(min(_FILTERS, key=sample_bytes), rows, pixel_bytes)


def _apply(kind: int, rows: np.ndarray, pixel_bytes: int) -> np.ndarray:
    height, width = rows.shape
    result = np.empty((height, 1 + width), np.uint8)
    result[:, 0] = kind
    padded = np.zeros((ROWS_AT_ONCE + 1, pixel_bytes + width), np.uint8)  # with the row above and the pixel before
    for top in range(0, height, ROWS_AT_ONCE):
        padded[0] = padded[-1]
        block = rows[top : top + ROWS_AT_ONCE]
        padded[1 : 1 + len(block), pixel_bytes:] = block
        part = padded[: 1 + len(block)]
        left, above, corner = part[1:, :-pixel_bytes], part[:-1, pixel_bytes:], part[:-1, :-pixel_bytes]
        np.subtract(block, _FILTERS[kind](left, above, corner), out=result[top : top + len(block), 1:])
    return result


def _paeth(left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> np.ndarray:
    to_left, to_above = (a.astype(np.int16) - corner for a in (above, left))
    to_corner = np.abs(to_left + to_above)
    np.abs(to_left, out=to_left)
    np.abs(to_above, out=to_above)
    predicted = np.where(to_above <= to_corner, above, corner)
    return np.where((to_left <= to_above) & (to_left <= to_corner), left, predicted)


# By their numbers in the file: what a byte is predicted from, of those to the left, above, and above to the left.
_FILTERS: dict[int, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    0: lambda left, above, corner: np.zeros_like(left),
    1: lambda left, above, corner: left,
    2: lambda left, above, corner: above,
    4: _paeth,
}
