"""Photoshop's resources, in JPEG files and TIFF tags: IPTC and much else is kept, thumbnails are not."""

from collections.abc import Callable

from pipeline.codecs.metadata_formats import exif_thumbnails, xmp
from pipeline.codecs.metadata_formats.embedded_jpegs import without_jpegs

_SIGNATURE = b"8BIM"
_JPEG_START = b"\xff\xd8\xff"
# By number: thumbnails of old and new kind; EXIF, its second part, and XMP once more. Others may hold previews as JPEG.
_CHANGED: dict[int, Callable[[bytes], bytes]] = {
    1033: lambda _: b"",
    1036: lambda _: b"",
    1058: exif_thumbnails.without_thumbnail,
    1059: exif_thumbnails.without_thumbnail,
    1060: xmp.still_true,
}


def without_thumbnail(resources: bytes) -> bytes:
    """Remove thumbnails from a block of resources, from outside, and blank other JPEGs; the rest stays to the byte.

    What follows the last sound resource stays, unless a JPEG begins in it.
    """
    kept, position = [], 0
    while resources.startswith(_SIGNATURE, position):
        name_bytes = resources[position + 6] if position + 6 < len(resources) else 0
        start = position + 6 + name_bytes + 1 + (name_bytes + 1) % 2
        length = int.from_bytes(resources[start : start + 4], "big")
        content = resources[start + 4 : start + 4 + length]
        if start + 4 > len(resources) or len(content) < length:
            break
        end = start + 4 + length + length % 2
        change = _CHANGED.get(int.from_bytes(resources[position + 4 : position + 6], "big"), without_jpegs)
        changed = change(content)
        if changed == content:
            kept.append(resources[position:end])
        elif changed:
            kept.append(resources[position:start] + len(changed).to_bytes(4, "big") + changed + bytes(len(changed) % 2))
        position = end
    rest = resources[position:]
    return b"".join(kept) + (b"" if _JPEG_START in rest else without_jpegs(rest))
