"""Identifies files by their first bytes, and explains why some kinds of image are not accepted."""

import io
import re
import struct

from PIL import ExifTags, Image, TiffImagePlugin

from pipeline.codecs.jpeg.scans import read_frame
from pipeline.containers import CONTAINERS

# Known and not taken; by regular expressions of the start.
_FOREIGN = (
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"8BPS", "a Photoshop document"),
    (rb"%PDF", "a PDF document"),
    (rb"%!PS", "PostScript"),
    (rb"\0\0[\x01\x02]\0(?!\0\0)", "an icon of Windows"),
    (rb".(\0[\x02\x03\x0a\x0b]\0{5}|\x01[\x01\x09]\0\0.[\0\x01].).{8}[\x08\x0f\x10\x18\x20]", "a TGA"),
    (rb"\x76\x2f\x31\x01", "OpenEXR"),
    (rb"#\?RADIANCE", "Radiance HDR"),
    (rb"qoif", "QOI"),
    (rb"P[Ff]\s", "PFM, a portable map of floating point"),
    (rb"P7\s", "PAM, a portable map of any depth"),
    (rb"....ftypcrx |FUJIFILMCCD-RAW|IIU\0|IIRO|IIRS", "a raw photo of a camera"),
    (rb"....ftyp(isom|iso.|mp4.|avc1|qt  |M4V |3gp)|\x1a\x45\xdf\xa3|RIFF....AVI ", "a video"),
    (rb"PK\x03\x04", "a ZIP archive"),
    (rb"\x1f\x8b", "a gzip file"),
    (rb"version https://git-lfs", "a pointer of Git LFS; fetch the file itself with git lfs pull"),
    (rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype html|html|head|body)", "an HTML page"),
    (rb"(?i)(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<svg", "SVG, which has no pixels"),
    (rb"(\xef\xbb\xbf)?\s*<\?xml", "an XML document"),
    (rb"\s*[\[{]\s*[\"\]}\[{]", "JSON"),
)
_JPEG_FRAMES = {
    0xC3: "a lossless JPEG (SOF3)",
    0xC5: "a hierarchical JPEG (SOF5)",
    0xC6: "a hierarchical JPEG (SOF6)",
    0xC7: "a lossless hierarchical JPEG (SOF7)",
    0xCB: "a lossless JPEG with arithmetic coding (SOF11)",
    0xCD: "a hierarchical JPEG with arithmetic coding (SOF13)",
    0xCE: "a hierarchical JPEG with arithmetic coding (SOF14)",
    0xCF: "a lossless hierarchical JPEG with arithmetic coding (SOF15)",
}
_JPEG_LS = re.compile(rb"\xff\xf7\0.", re.DOTALL)
_SAMPLE_FORMATS = {2: "signed samples (SampleFormat 2)", 3: "floating-point samples (SampleFormat 3)"}
_SAMPLE_FORMATS |= {5: "complex samples (SampleFormat 5)", 6: "complex samples (SampleFormat 6)"}
_TIFF_COMPRESSIONS = {
    6: "JPEG of the old style",
    34712: "JPEG 2000",
    33003: "JPEG 2000",
    33004: "JPEG 2000",
    33005: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG of DNG",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_REDUCED = 1  # of subfile types
_JPEG = 7
_COLOUR_FILTER = 32803  # of photometric interpretations


def image_kind(data: bytes) -> str | None:
    """Pillow's name of the format that a file begins as; ``None`` where it is none that can be read."""
    return next((container.name for container in CONTAINERS if container.begins(data)), None)


def describe_foreign(data: bytes) -> str | None:
    """Describe a file that :func:`image_kind` does not know; ``None`` if it is not recognized."""
    if not data:
        return "empty"
    for pattern, name in _FOREIGN:
        if re.match(pattern, data[:1024], re.DOTALL):
            return name
    if not any(data[:1024]):
        return "a file that begins with zeros"
    late = data.find(b"\xff\xd8\xff", 0, 1024)
    return f"a JPEG behind {late} byte(s) of something else" if late > 0 else None


def describe_jpeg(data: bytes) -> str | None:
    """Describe why decoders do not support a JPEG, by its frame; ``None`` if there is no reason."""
    frame, header = read_frame(data)
    if not frame and _JPEG_LS.search(data, 0, 65536):
        return "JPEG-LS (SOF55)"
    if frame in _JPEG_FRAMES:
        return _JPEG_FRAMES[frame]
    if header and header[0] != 8:
        return f"a JPEG of {header[0]} bits"
    if header and header[1:3] == b"\0\0":
        return "a JPEG whose height is not in its header (DNL)"
    if len(header) > 5 and header[5] not in (1, 3, 4):
        return f"a JPEG with {header[5]} components"
    return None


def describe_tiff(data: bytes) -> str | None:
    """Describe what is unsupported in a TIFF's first image; ``None`` if its tags show nothing."""
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[:16] if data[2:3] in b"+" or data[3:4] in b"+" else data[:8])
        file = io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        formats, bits = _numbers(tags, TiffImagePlugin.SAMPLEFORMAT), _numbers(tags, TiffImagePlugin.BITSPERSAMPLE)
        compression = tags.get(TiffImagePlugin.COMPRESSION, 1)
        is_filtered = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == _COLOUR_FILTER
        is_raw = is_filtered or ExifTags.Base.DNGVersion in tags
    except (SyntaxError, ValueError, TypeError, KeyError, IndexError, OSError, struct.error):
        return None
    depth = f" of {max(bits)} bits" if bits else ""
    if is_raw:
        return "a raw photo of a camera (DNG)"
    if compression in _TIFF_COMPRESSIONS:
        return f"a TIFF compressed as {_TIFF_COMPRESSIONS[compression]} (compression {compression})"
    if odd := next((number for number in formats if number in _SAMPLE_FORMATS), None):
        return f"a TIFF with {_SAMPLE_FORMATS[odd]}{depth}"
    if compression == _JPEG and bits and max(bits) > 8:
        return f"a TIFF with JPEG{depth} inside"
    if bits and max(bits) > 16:
        return f"a TIFF{depth} per sample"
    return None


def describe_thumbnail(image: Image.Image) -> str | None:
    """Describe a TIFF whose first picture is a thumbnail of the main one; ``None`` for all others."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    kind = tags.get(ExifTags.Base.NewSubfileType, 0)
    if TiffImagePlugin.SUBIFD not in tags or not isinstance(kind, int) or not kind & _REDUCED:
        return None
    what = (
        "a raw photo of a camera (DNG)" if ExifTags.Base.DNGVersion in tags else "a TIFF, as raw photos of cameras are,"
    )
    return f"{what} whose first picture is a thumbnail of a later one"


def _numbers(tags: TiffImagePlugin.ImageFileDirectory_v2, tag: int) -> tuple[int, ...]:
    """The whole numbers of a tag, which may say anything."""
    value = tags.get(tag, ())
    return tuple(number for number in (value if isinstance(value, tuple) else (value,)) if isinstance(number, int))


def reason_of_plugin(data: bytes, kind: str) -> str:
    """Return the error of Pillow's reader of a format, which ``Image.open`` hides."""
    Image.init()
    try:
        Image.OPEN[kind][0](io.BytesIO(data), "")
    except Exception as error:  # noqa: BLE001 - it may be anything, and is only told
        return str(error) or type(error).__name__
    return "its header is not one of this format"
