"""Media types of objects, from their content or name."""

from pathlib import PurePosixPath

_BEGINNINGS = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
    b"II+\0": "image/tiff",
    b"MM\0+": "image/tiff",
    b"PAR1": "application/vnd.apache.parquet",
}
_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heif",
}
_EXTENSIONS = {
    ".bmp": "image/bmp",
    ".dib": "image/bmp",
    ".ppm": "image/x-portable-pixmap",
    ".pgm": "image/x-portable-graymap",
    ".pbm": "image/x-portable-bitmap",
    ".pnm": "image/x-portable-anymap",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".tar": "application/x-tar",
    ".parquet": "application/vnd.apache.parquet",
}
UNKNOWN = "application/octet-stream"


def content_type(key: str, beginning: bytes = b"") -> str:
    """Return the media type of an object.

    Args:
        key: its name, whose extension is used if the bytes are not recognized.
        beginning: its first 12 bytes or more.
    """
    for signature, kind in _BEGINNINGS.items():
        if beginning.startswith(signature):
            return kind
    if beginning[:4] == b"RIFF" and beginning[8:12] == b"WEBP":
        return "image/webp"
    if beginning[4:8] == b"ftyp" and beginning[8:12] in _BRANDS:
        return _BRANDS[beginning[8:12]]
    return _EXTENSIONS.get(PurePosixPath(key).suffix.lower(), UNKNOWN)
