"""Marks a result as partly generated: in its XMP, wherever its format keeps that."""

import copy
from collections.abc import Callable
from dataclasses import replace

from pipeline.codecs.jpeg import segments
from pipeline.codecs.metadata.provenance import Provenance
from pipeline.codecs.metadata.xmp_merge import marked, without_padding
from pipeline.codecs.metadata_formats.xmp import UnreadableXmpError
from pipeline.codecs.photo import Photo
from pipeline.codecs.png import metadata as png_metadata
from pipeline.codecs.tiff import tags as tiff_tags

_WITH_XMP = ("JPEG", "PNG", "WEBP", "TIFF")
_WORDS = (b"DigitalSourceType", b"History")


def mark(photo: Photo, container: str, provenance: Provenance) -> tuple[Photo, str | None]:
    """Add a digital source type and an entry of the history to the XMP of a photo.

    Args:
        photo: to be encoded.
        container: the format of the result, by Pillow's name.
        provenance: what was done to the photo.

    Returns:
        The photo with what its encoder shall write, and why it is not marked; ``None`` where it is.
    """
    if container not in _WITH_XMP:
        return photo, f"not marked: {container} has no room for XMP"
    try:
        return replace(photo, encoder=photo.encoder | _marked(photo, container, provenance)), None
    except UnreadableXmpError:
        return photo, "not marked: its XMP cannot be read"
    except _NoRoomError:
        return photo, f"not marked: its XMP leaves no room in a {container}"


class _NoRoomError(ValueError):
    """A format cannot hold a longer XMP."""


def _marked(photo: Photo, container: str, provenance: Provenance) -> dict[str, object]:
    """Return the settings of the encoder that change."""
    kept = photo.encoder if container == photo.format else {}
    if container == "JPEG":
        change = _within(provenance, segments.MAX_XMP_BYTES)
        if "segments" not in kept:
            return {"xmp": change(photo.encoder.get("xmp", b""))}
        second = segments.extended_xmp(kept["segments"])
        if any(word in second for word in _WORDS):  # it has a digest, and a property must not occur twice
            raise UnreadableXmpError("a second part")
        return {"segments": segments.with_xmp(kept["segments"], change)}
    if "chunks" in kept:
        return {"chunks": png_metadata.with_xmp(kept["chunks"], lambda xmp: marked(xmp, provenance))}
    if "tiffinfo" in kept:
        tags = copy.deepcopy(kept["tiffinfo"])
        tags[tiff_tags.XMP] = marked(tags.get(tiff_tags.XMP, b""), provenance)
        return {"tiffinfo": tags}
    return {"xmp": marked(photo.encoder.get("xmp", b""), provenance)}


def _within(provenance: Provenance, max_bytes: int) -> Callable[[bytes], bytes]:
    """Return a function that marks XMP, and gives up its padding where the room is short."""

    def change(xmp: bytes) -> bytes:
        result = marked(xmp, provenance)
        result = result if len(result) <= max_bytes else without_padding(result)
        if len(result) > max_bytes:
            raise _NoRoomError
        return result

    return change
