"""Chunks of a PNG file without thumbnails and what no longer holds, in EXIF, XMP and ImageMagick's raw profiles."""

import zlib
from collections.abc import Callable

from pipeline.codecs.metadata_formats import exif_thumbnails, photoshop, xmp
from pipeline.codecs.metadata_formats.embedded_jpegs import without_jpegs
from pipeline.codecs.png.chunks import Chunk, xmp_chunk

MAX_TEXT_BYTES = 1 << 24
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_XMP_NAME = b"XML:com.adobe.xmp"
_RAW_PROFILE = b"Raw profile type "
_MAYBE_XMP = tuple(_RAW_PROFILE + kind for kind in (b"exif", b"APP1", b"xmp"))
_PHOTOSHOP_NAME = b"Photoshop 3.0\0"
_HEX_LINE_CHARACTERS = 72


def still_true(chunk: Chunk) -> Chunk | None:
    """Return a chunk without thumbnails, JPEGs and untrue announcements; ``None`` where nothing of it can be kept.

    A chunk that has none of these stays to the byte.
    """
    name, content = chunk
    if name == b"eXIf":
        return name, exif_thumbnails.without_thumbnail(content)
    keyword, _, rest = content.partition(b"\0")
    if name not in _TEXTS:
        return name, without_jpegs(content)
    text = _text(name, rest)
    if text is None:
        return None  # too long or broken: no reader has it either
    if keyword == _XMP_NAME:
        kept = xmp.still_true(text)
        return (name, without_jpegs(content)) if kept == text else xmp_chunk(kept) if kept else None
    if keyword.startswith(_RAW_PROFILE):
        return _raw_profile(chunk, keyword, text)
    changed = without_jpegs(text)
    if changed == text:
        return name, without_jpegs(content)  # one may be beside the text, too
    return name, keyword + b"\0" + _with_text(name, rest, changed)


def with_xmp(chunks: list[Chunk], change: Callable[[bytes], bytes]) -> list[Chunk]:
    """Change the XMP among chunks; where there is none, add what ``change`` makes of nothing."""
    result, has_xmp = list[Chunk](), False
    for name, content in chunks:
        keyword, _, rest = content.partition(b"\0")
        is_xmp = name in _TEXTS and keyword == _XMP_NAME
        result.append(xmp_chunk(change(_text(name, rest) or b"")) if is_xmp else (name, content))
        has_xmp |= is_xmp
    return result if has_xmp else [*result, xmp_chunk(change(b""))]


def _text(name: bytes, rest: bytes) -> bytes | None:
    """Return the text of a chunk, unpacked within limits; ``None`` if it is longer or broken."""
    is_packed = name == b"zTXt"
    if name == b"zTXt":
        rest = rest[1:]
    elif name == b"iTXt":
        is_packed = rest[:1] == b"\1"
        rest = rest[2:].split(b"\0", 2)[-1]  # behind language and translated keyword
    if not is_packed:
        return rest
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(rest, MAX_TEXT_BYTES)
    except zlib.error:
        return None
    return text if unpacker.eof else None


def _with_text(name: bytes, rest: bytes, text: bytes) -> bytes:
    """Return what follows the keyword of a chunk, with another text."""
    if name == b"tEXt":
        return text
    if name == b"zTXt":
        return b"\0" + zlib.compress(text)
    language, translated, *_ = *rest[2:].split(b"\0", 2)[:-1], b"", b""
    return b"\0\0" + b"\0".join((language, translated, text))


def _raw_profile(chunk: Chunk, keyword: bytes, text: bytes) -> Chunk | None:
    """ImageMagick's form: a name, the length and hexadecimal digits in lines."""
    try:
        _, kind, _, digits = text.split(b"\n", 3)
        profile = bytes.fromhex(b"".join(digits.split()).decode("ascii"))
    except ValueError:
        return None
    if profile.startswith(b"8BIM"):
        kept = photoshop.without_thumbnail(profile)
    elif profile.startswith((b"Exif\0", b"II*\0", b"MM\0*")):
        kept = exif_thumbnails.without_thumbnail(profile)
    elif profile.startswith(_PHOTOSHOP_NAME):
        kept = _PHOTOSHOP_NAME + photoshop.without_thumbnail(profile.removeprefix(_PHOTOSHOP_NAME))
    elif keyword in _MAYBE_XMP:
        start = max(profile.find(b"<"), 0)
        kept = xmp.still_true(profile[start:])
        kept = without_jpegs(profile[:start]) + kept if kept else b""
    else:
        kept = without_jpegs(profile)
    if kept == profile:
        return chunk[0], without_jpegs(chunk[1])  # one may be behind the packed text
    written = kept.hex().encode()
    lines = (written[at : at + _HEX_LINE_CHARACTERS] for at in range(0, len(written), _HEX_LINE_CHARACTERS))
    text = b"\n%s\n%8d\n%s\n" % (kind, len(kept), b"\n".join(lines))
    return (b"zTXt", keyword + b"\0\0" + zlib.compress(text)) if kept else None
