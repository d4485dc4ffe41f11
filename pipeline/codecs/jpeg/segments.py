"""Copies metadata segments of JPEG files."""

from collections.abc import Callable, Iterator

from pipeline.codecs.jpeg_markers import header_segments
from pipeline.codecs.metadata_formats import exif, exif_thumbnails, photoshop, xmp
from pipeline.codecs.metadata_formats.embedded_jpegs import without_jpegs

_APP0, _APP14 = 0xE0, 0xEE
_HUFFMAN_TABLES = 0xC4
_STANDARD_TABLE_BYTES = (208, 416)  # of grey and of colour
# EXIF, XMP, the second part of a long XMP, ICC profile, IPTC, comment. Left behind: thumbnails and pictures further on
# (JFXX, MPF), which nothing would lead to, thermal pictures (FLIR), and signatures of the old pixels (C2PA).
_EXIF, _XMP, _EXTENSION = (0xE1, b"Exif\0"), (0xE1, b"http://ns.adobe.com/xap/"), (0xE1, b"http://ns.adobe.com/xmp/ext")
_PHOTOSHOP = (0xED, b"Photoshop 3.0\0")
_UNSTRUCTURED = (0xE2, 0xED, 0xFE)  # ICC profile, other programs' APP13, comment
_PROFILE = (0xE2, b"ICC_PROFILE\0")
_KEPT = (_EXIF, _XMP, _EXTENSION, _PROFILE, (0xED, b""), (0xFE, b""))
_TIFF_STARTS = (b"II*\0", b"MM\0*")
_EXTENSION_HEADER_BYTES = 35 + 32 + 4 + 4  # name, digest, whole length, offset
_MAX_CONTENT_BYTES = 65533
_XMP_NAME = b"http://ns.adobe.com/xap/1.0/\0"
MAX_XMP_BYTES = _MAX_CONTENT_BYTES - len(_XMP_NAME)
Segment = tuple[int, bytes]  # marker and content


def has_optimized_tables(data: bytes) -> bool:
    """Return whether a JPEG has optimized Huffman tables; standard ones encode faster to larger files."""
    table_bytes = sum(end - start - 4 for marker, start, end in header_segments(data) if marker == _HUFFMAN_TABLES)
    return table_bytes not in _STANDARD_TABLE_BYTES


def metadata_segments(data: bytes) -> bytes:
    """Return EXIF, XMP, ICC profile, IPTC and comments, concatenated and byte-identical.

    Thumbnails are omitted, and XMP that refers to data behind the picture.
    """
    found = [(marker, data[start + 4 : end]) for marker, start, end in header_segments(data)]
    found = [segment for segment in found if any(_is(segment, kind) for kind in _KEPT)]
    has_extension = _is_extension_true(found)
    if not has_extension:
        found = [segment for segment in found if not _is(segment, _EXTENSION)]
    return b"".join(_framed(segment) for segment in _without_thumbnails(_blanked(found), has_extension))


def _is(segment: Segment, kind: Segment) -> bool:
    return segment[0] == kind[0] and segment[1].startswith(kind[1])


def first_exif(data: bytes) -> bytes:
    """Return the first EXIF of a JPEG, joined from its segments; empty if there is none."""
    found = [(marker, data[start + 4 : end]) for marker, start, end in header_segments(data)]
    return next((content for marker, content in _with_whole_exif(found) if _is((marker, content), _EXIF)), b"")


def _with_whole_exif(found: list[Segment]) -> list[Segment]:
    """Join EXIF with its continuation in further segments; one that begins as TIFF is another EXIF."""
    result = list[Segment]()
    last = None  # position of the EXIF before
    for segment in found:
        is_exif, begins = _is(segment, _EXIF), segment[1].startswith(_TIFF_STARTS, len(exif.PREFIX))
        if is_exif and not begins and last is not None:
            result[last] = segment[0], result[last][1] + segment[1][len(exif.PREFIX) :]
            continue
        last = len(result) if is_exif and begins else last
        result.append(segment)
    return result


def _is_extension_true(found: list[Segment]) -> bool:
    """Return whether to keep the second part of XMP; it has a digest, so it is kept or dropped as a whole."""
    parts = [content for marker, content in found if _is((marker, content), _EXTENSION)]
    parts.sort(key=lambda content: content[35:67] + content[71:75])  # by digest and offset
    whole = b"".join(content[_EXTENSION_HEADER_BYTES:] for content in parts)
    return xmp.still_true(whole, has_extension=True) == whole


def _blanked(found: list[Segment]) -> list[Segment]:
    """Return segments with zeros for JPEGs in those of no known structure, over which one JPEG may extend."""
    result = list(found)
    for marker in _UNSTRUCTURED:
        places = [at for at, one in enumerate(found) if one[0] == marker and not _is(one, _PHOTOSHOP)]
        whole = without_jpegs(b"".join(found[at][1] for at in places))
        for at in places:
            length = len(found[at][1])
            result[at], whole = (marker, whole[:length]), whole[length:]
    return result


def _without_thumbnails(found: list[Segment], has_extension: bool) -> Iterator[Segment]:
    resources = b"".join(
        content[len(_PHOTOSHOP[1]) :] for marker, content in found if _is((marker, content), _PHOTOSHOP)
    )
    kept = photoshop.without_thumbnail(resources)  # one may continue in the next segment
    for marker, content in _with_whole_exif(found):
        if _is((marker, content), _EXIF):
            name = content[: len(exif.PREFIX)]
            kept_exif = exif_thumbnails.without_thumbnail(content)[len(exif.PREFIX) :]
            room = _MAX_CONTENT_BYTES - len(name)
            yield from ((marker, name + kept_exif[at : at + room]) for at in range(0, max(len(kept_exif), 1), room))
        elif _is((marker, content), _XMP):
            name, zero, packet = content.partition(b"\0")
            packet = xmp.still_true(packet, has_extension)
            if packet:
                yield marker, name + zero + packet
        elif kept != resources and _is((marker, content), _PHOTOSHOP):
            room = _MAX_CONTENT_BYTES - len(_PHOTOSHOP[1])
            yield from ((marker, _PHOTOSHOP[1] + kept[at : at + room]) for at in range(0, len(kept), room))
            kept = b""
        else:
            yield marker, content


def with_xmp(metadata: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Change the XMP of concatenated segments; where there is none, add what ``change`` makes of nothing.

    Args:
        metadata: as :func:`metadata_segments` returns it.
        change: returns a packet of at most ``MAX_XMP_BYTES`` for a packet.
    """
    found, result = _split(metadata), list[Segment]()
    for marker, content in found:
        if _is((marker, content), _XMP):
            name, zero, packet = content.partition(b"\0")
            content = name + zero + change(packet)
        result.append((marker, content))
    if not any(_is(segment, _XMP) for segment in found):
        exif_count = next((at for at, segment in enumerate(found) if not _is(segment, _EXIF)), len(found))
        result.insert(exif_count, (_XMP[0], _XMP_NAME + change(b"")))
    return b"".join(map(_framed, result))


def extended_xmp(metadata: bytes) -> bytes:
    """Return the second part of XMP from concatenated segments, without order; empty if there is none."""
    return b"".join(content for marker, content in _split(metadata) if _is((marker, content), _EXTENSION))


def new_segments(exif: bytes, icc_profile: bytes) -> bytes:
    """Return concatenated segments of EXIF and an ICC profile.

    Args:
        exif: with ``Exif\\0\\0``, of one segment; empty for none.
        icc_profile: of at most 255 segments, as in a JPEG; empty for none.
    """
    marker, name = _PROFILE
    room = _MAX_CONTENT_BYTES - len(name) - 2
    parts = [icc_profile[at : at + room] for at in range(0, len(icc_profile), room)]
    found = [(marker, name + bytes((number, len(parts))) + part) for number, part in enumerate(parts, start=1)]
    return b"".join(map(_framed, [(_EXIF[0], exif), *found] if exif else found))


def _split(metadata: bytes) -> list[Segment]:
    jpeg = bytes((0xFF, 0xD8)) + metadata
    return [(marker, jpeg[start + 4 : end]) for marker, start, end in header_segments(jpeg)]


def _framed(segment: Segment) -> bytes:
    marker, content = segment
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content


def with_metadata(jpeg: bytes, metadata: bytes) -> bytes:
    """Insert segments into an encoded JPEG after its JFIF header, where readers expect them."""
    start = 2
    marker, _, end = next(header_segments(jpeg))
    if marker == _APP0:
        start = end
    return jpeg[:start] + metadata + jpeg[start:]


def without_adobe(jpeg: bytes) -> bytes:
    """Remove Adobe's marker from a JPEG, so that readers do not invert four components."""
    for marker, start, end in header_segments(jpeg):
        if marker == _APP14 and jpeg.startswith(b"Adobe", start + 4):
            return jpeg[:start] + jpeg[end:]
    return jpeg
