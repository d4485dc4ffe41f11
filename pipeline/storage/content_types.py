"""Media types of objects, from their content or name."""

from pathlib import PurePosixPath

from pipeline.containers import CONTAINERS

_PARQUET = "application/vnd.apache.parquet"
# Two bytes at the beginning tell little, so such files are known by their names.
_WEAK = [container for container in CONTAINERS if container.name in ("BMP", "PPM")]
_BRANDS = {brand: kind for container in CONTAINERS for brand, kind in container.brands.items()}
_EXTENSIONS = {
    **{extension: kind for container in _WEAK for extension, kind in container.media_types.items()},
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".tar": "application/x-tar",
    ".parquet": _PARQUET,
}
UNKNOWN = "application/octet-stream"


def content_type(key: str, beginning: bytes = b"") -> str:
    """Return the media type of an object.

    Args:
        key: its name, whose extension is used if the bytes are not recognized.
        beginning: its first 12 bytes or more.
    """
    if beginning.startswith(b"PAR1"):
        return _PARQUET
    if beginning[4:8] == b"ftyp" and beginning[8:12] in _BRANDS:
        return _BRANDS[beginning[8:12]]
    for container in CONTAINERS:
        if container not in _WEAK and not container.brands and container.begins(beginning):
            return next(iter(container.media_types.values()))
    return _EXTENSIONS.get(PurePosixPath(key).suffix.lower(), UNKNOWN)
