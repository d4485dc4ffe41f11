"""The table of image containers: names, first bytes, media types, extensions, and what they hold."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

# Choices of a result's format that are not a format: that of its source, or of its source if that holds the pixels.
SOURCE_FORMAT, SOURCE_OR_PNG = KEPT_FORMATS = ("source", "source-or-png")
# Choices of what a result says beside its pixels.
KEEP, MARK, PRIVATE = METADATA_POLICIES = ("keep", "mark", "private")
BRANDS_END = 256  # bytes, behind which no brand is looked for


@dataclass(frozen=True)
class Container:
    """An image container.

    Args:
        name: as Pillow calls it.
        media_types: by extension, the first being that of content that begins as this container.
        starts: first bytes.
        pattern: of the first bytes, where these are too few to tell the container from other files.
        brands: media types by brand, of containers in boxes of ISO/IEC 14496-12.
        modes: of pixels that can be encoded without loss; none where nothing is encoded.
        max_side_px: that can be encoded; 0 for any.
        extra: optional packages that decoding needs.
    """

    name: str
    media_types: Mapping[str, str]
    starts: tuple[bytes, ...] = ()
    pattern: re.Pattern[bytes] | None = None
    brands: Mapping[bytes, str] = field(default_factory=dict)
    modes: tuple[str, ...] = ()
    max_side_px: int = 0
    extra: str = ""

    def begins(self, data: bytes) -> bool:
        """Return whether a file begins as this container."""
        if self.brands:
            return data[4:8] == b"ftyp" and not self.brands.keys().isdisjoint(_brands(data))
        return data.startswith(self.starts) or bool(self.pattern and self.pattern.match(data))


def _brands(data: bytes) -> list[bytes]:
    end = min(int.from_bytes(data[:4], "big"), BRANDS_END)
    return [data[8:12], *(data[at : at + 4] for at in range(16, end, 4))]


def _of(media_type: str, extensions: str) -> dict[str, str]:
    return dict.fromkeys((f".{name}" for name in extensions.split()), media_type)


CONTAINERS = (
    Container(
        "PNG",
        _of("image/png", "png apng"),
        (b"\x89PNG\r\n\x1a\n",),
        modes=("L", "LA", "RGB", "RGBA", "I;16", "LA;16", "RGB;16", "RGBA;16"),
    ),
    Container(
        "JPEG",
        _of("image/jpeg", "jpg jpeg jpe jfif mpo pjp pjpeg"),
        (b"\xff\xd8",),
        modes=("L", "RGB", "CMYK"),
        max_side_px=65500,
    ),
    Container(
        "WEBP",
        _of("image/webp", "webp"),
        pattern=re.compile(rb"RIFF....WEBP", re.DOTALL),
        modes=("L", "LA", "RGB", "RGBA"),
        max_side_px=16383,
    ),
    Container(
        "TIFF",
        _of("image/tiff", "tif tiff"),
        (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        modes=("L", "LA", "RGB", "RGBA", "CMYK", "I;16", "RGB;16", "RGBA;16"),
    ),
    Container("BMP", _of("image/bmp", "bmp dib"), (b"BM",), modes=("L", "RGB")),
    Container(
        "PPM",
        {
            ".ppm": "image/x-portable-pixmap",
            ".pgm": "image/x-portable-graymap",
            ".pbm": "image/x-portable-bitmap",
            ".pnm": "image/x-portable-anymap",
        },
        pattern=re.compile(rb"P[1-6][\s#]"),
        modes=("L", "RGB"),
    ),
    Container("GIF", _of("image/gif", "gif"), (b"GIF87a", b"GIF89a")),
    Container("AVIF", _of("image/avif", "avif avifs"), brands={b"avif": "image/avif", b"avis": "image/avif"}),
    Container(
        "HEIF",
        _of("image/heic", "heic heif hif"),
        brands={
            **dict.fromkeys((b"heic", b"heix", b"heim", b"heis"), "image/heic"),
            **dict.fromkeys((b"hevc", b"hevx"), "image/heic-sequence"),
            b"mif1": "image/heif",
            b"msf1": "image/heif-sequence",
        },
        extra="heic",
    ),
)
