"""Chunks of WebP files: reads them, and replaces metadata beside pixels that stay as they are compressed.

Source: RFC 9649, sections 2.3 … 2.7.
"""

from collections.abc import Iterator

_HEADER, _ALPHA, _LOSSY, _LOSSLESS = b"VP8X", b"ALPH", b"VP8 ", b"VP8L"
_HEADER_BYTES = 10
_HAS_PROFILE, _HAS_ALPHA, _HAS_EXIF = 0x20, 0x10, 0x08  # flags in the header's first byte
Chunk = tuple[bytes, bytes]  # name and content


def read_chunks(data: bytes) -> Iterator[Chunk]:
    """Yield name and content of the chunks of a WebP file, unchecked, up to where it ends or is cut off."""
    position = 12
    while position + 8 <= len(data):
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        yield data[position : position + 4], data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2


def with_metadata(data: bytes, icc_profile: bytes, exif: bytes) -> bytes:
    """Return a single picture's file with only this metadata; its compressed pixels stay to the byte.

    Args:
        data: a file that a decoder has found to be whole.
        icc_profile, exif: empty for none. A file of the simple layout, which has neither, gets none.
    """
    chunks = list(read_chunks(data))
    pixels = _pixels(chunks)
    header = next((content for name, content in chunks if name == _HEADER), None)
    if header is None:
        return _file(pixels)
    flags = header[0] & _HAS_ALPHA | _HAS_PROFILE * bool(icc_profile) | _HAS_EXIF * bool(exif)
    before = [
        (_HEADER, bytes((flags, 0, 0, 0)) + header[4:_HEADER_BYTES]),
        *([(b"ICCP", icc_profile)] if icc_profile else []),
    ]
    return _file([*before, *pixels, *([(b"EXIF", exif)] if exif else [])])


def _pixels(chunks: list[Chunk]) -> list[Chunk]:
    """Return the first picture, and the alpha before it; a lossless picture has its own inside."""
    at = next(at for at, (name, _) in enumerate(chunks) if name in (_LOSSY, _LOSSLESS))
    alpha = [chunk for chunk in chunks[:at] if chunk[0] == _ALPHA and chunks[at][0] == _LOSSY]
    return [*alpha[:1], chunks[at]]


def _file(chunks: list[Chunk]) -> bytes:
    content = b"WEBP" + b"".join(
        name + len(content).to_bytes(4, "little") + content + bytes(len(content) % 2) for name, content in chunks
    )
    return b"RIFF" + len(content).to_bytes(4, "little") + content
