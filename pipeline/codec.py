"""Compressed bytes to pixels and back, keeping format, colour mode, alpha, EXIF and ICC profile."""

import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from pipeline.errors import SampleError
from pipeline.photo import Photo

# What each format holds without loss of a mode; other combinations fail with a sentence rather than convert.
FORMAT_MODES = {
    "PNG": ("L", "LA", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("L", "LA", "RGB", "RGBA"),
    "TIFF": ("L", "LA", "RGB", "RGBA", "CMYK", "I;16"),
    "BMP": ("L", "RGB"),
    "PPM": ("L", "RGB"),
}
READABLE = (*FORMAT_MODES, "GIF")  # GIF only for another image_format: its palette has no room for new colours
_PLAIN_MODES = {"1": "L", "P": "RGB", "PA": "RGBA", "YCbCr": "RGB", "RGBX": "RGB", "RGBa": "RGBA", "La": "LA"}
_HUFFMAN_TABLES, _START_OF_SCAN = b"\xff\xc4", b"\xff\xda"
_STANDARD_TABLE_BYTES = (208, 416)  # of grey and of colour
_TIFF_BITS, _TIFF_ORIENTATION = 258, 274
_TIFF_KEPT = (270, 271, 272, 305, 306, 315, 33432)  # description, make, model, software, date, artist, copyright


def open_checked(data: bytes, max_pixels: int, stage: str = "decode") -> Image.Image:
    """Read an image's header, with all limits checked before a pixel is decoded.

    Raises:
        SampleError: not an image, too many pixels, or several frames.
    """
    Image.MAX_IMAGE_PIXELS = None  # max_pixels is our limit, checked below from the header alone
    try:
        image = Image.open(io.BytesIO(data), formats=READABLE)
    except UnidentifiedImageError as error:
        start = "is empty" if not data else f"starts with {data[:16]!r}"
        kinds = ", ".join(READABLE)
        raise SampleError(stage, "UnreadableImage", f"not an image that is taken ({kinds}); it {start}") from error
    except Exception as error:
        raise SampleError(stage, "UnreadableImage", f"broken image header: {error}") from error
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise SampleError(
            stage, "TooManyPixels", f"{image.width}x{image.height} is {pixels} pixels, limits.max_pixels={max_pixels}"
        )
    frames = getattr(image, "n_frames", 1) if image.format != "MPO" else 1
    if frames > 1:
        raise SampleError(stage, "SeveralFrames", f"{image.format} with {frames} frames; only single images are taken")
    return image


def load_pixels(image: Image.Image, stage: str = "decode") -> Image.Image:
    """Decode an opened image.

    Raises:
        SampleError: the data is cut short or broken.
    """
    try:
        image.load()
    except Exception as error:
        kind = "TruncatedImage" if "truncated" in str(error) else "BrokenImage"
        raise SampleError(stage, kind, f"{image.format} cannot be decoded: {error}") from error
    return image


def decode(data: bytes, max_pixels: int) -> Photo:
    """Decode an image, keeping its mode as far as an encoder can write it back.

    Raises:
        SampleError: unreadable, truncated, too large, several frames, or pixels that cannot be kept as they are.
    """
    image = open_checked(data, max_pixels)
    container = "JPEG" if image.format == "MPO" else str(image.format)
    bits = _bits_per_channel(image, data)
    turned = image.format == "TIFF" and image.tag_v2.get(_TIFF_ORIENTATION, 1) != 1  # type: ignore[attr-defined]
    if image.format == "JPEG" and image.mode == "RGB" and (pixels := _jpeg_pixels(data)) is not None:
        return Photo(pixels, "RGB", "JPEG", _encoder_settings(image, data))
    load_pixels(image)
    encoder = _encoder_settings(image, data)
    if bits > 8 and ("transparency" in image.info or not image.mode.startswith("I;16")):
        raise SampleError(
            "decode", "UnsupportedMode", f"{image.format} of {bits} bits in mode {image.mode} is not kept"
        )
    if turned:
        raise SampleError("decode", "UnsupportedMode", "TIFF with an orientation tag; store it upright")
    if "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode in _PLAIN_MODES:
        image = image.convert(_PLAIN_MODES[image.mode])
    mode = "I;16" if image.mode.startswith("I;16") else image.mode
    if mode not in FORMAT_MODES["TIFF"]:
        raise SampleError("decode", "UnsupportedMode", f"{image.format} in mode {image.mode} cannot be kept exactly")
    pixels = np.asarray(image)
    if mode == "I;16":
        pixels = pixels.astype(np.uint16)
    return Photo(pixels, mode, container, encoder)


def _jpeg_pixels(data: bytes) -> np.ndarray | None:
    """The very pixels that Pillow decodes, sooner; ``None`` where the file is not entirely sound and it must judge."""
    try:
        return simplejpeg.decode_jpeg(data)
    except ValueError:
        return None


def check_encodable(photo: Photo, image_format: str) -> str:
    """Pillow's name of the format that a photo will be written in; worth knowing before the model runs.

    Raises:
        SampleError: the format cannot hold the photo's mode.
    """
    container = photo.format if image_format == "source" else image_format.upper()
    if photo.mode not in FORMAT_MODES.get(container, ()):
        advice = "set sink.image_format=png" if image_format == "source" else "set sink.image_format=source"
        raise SampleError("encode", "UnsupportedMode", f"{container} cannot hold {photo.mode} pixels exactly; {advice}")
    return container


def encode(photo: Photo, pixels: np.ndarray, image_format: str) -> tuple[bytes, str]:
    """Encode changed pixels of a photo.

    Args:
        photo: where the pixels came from.
        pixels: of the same shape and mode.
        image_format: ``source`` keeps format and settings; ``png`` and ``webp`` are lossless, ``jpeg`` has quality 95.

    Returns:
        The file's bytes and Pillow's name of its format.

    Raises:
        SampleError: the format cannot hold the photo's mode.
    """
    container = check_encodable(photo, image_format)
    kept = {key: value for key, value in photo.encoder.items() if key in ("exif", "icc_profile", "dpi")}
    settings = _FORMAT_SETTINGS[container](photo.encoder if container == photo.format else {})
    # Pillow takes the mode from the array's shape and type; only CMYK and RGBA look the same.
    image = Image.fromarray(pixels, photo.mode) if photo.mode == "CMYK" else Image.fromarray(pixels)
    for attempt in (settings, settings | _SAFE_SETTINGS.get(container, {})):
        buffer = io.BytesIO()
        try:
            image.save(buffer, container, **kept, **attempt)
            return buffer.getvalue(), container
        except (OSError, ValueError, RuntimeError) as error:
            fault = SampleError("encode", type(error).__name__, f"{container} encoder: {error}")
    raise fault


def _bits_per_channel(image: Image.Image, data: bytes) -> int:
    """Of the file, where Pillow might cut them to 8."""
    if image.format == "PNG":
        return data[24]
    if image.format == "TIFF":
        return max(image.tag_v2.get(_TIFF_BITS, (1,)))  # type: ignore[attr-defined]
    if image.format == "PPM" and data[1:2] in b"2356":
        return int(re.sub(rb"#[^\n]*", b"", data[:1024]).split()[3]).bit_length()
    return 8


def _encoder_settings(image: Image.Image, data: bytes) -> dict[str, Any]:
    kept = {key: image.info[key] for key in ("icc_profile", "exif", "dpi") if image.info.get(key)}
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        kept["qtables"] = image.quantization
        kept["subsampling"] = JpegImagePlugin.get_sampling(image)
        kept["progressive"] = "progressive" in image.info
        kept["optimize"] = _has_optimized_tables(data)
    if image.format == "WEBP":
        kept["lossless"] = b"VP8L" in data[:64] or b"VP8 " not in data
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        kept["compression"] = image.info.get("compression", "raw")
        kept["tiffinfo"] = {tag: tags[tag] for tag in _TIFF_KEPT if tag in tags}
        kept.pop("exif", None)  # the same tags, with those of the file's structure among them
    return kept


def _has_optimized_tables(data: bytes) -> bool:
    """Whether a JPEG's Huffman tables were made for it; the standard ones are quicker to encode with, and longer."""
    position, table_bytes = 2, 0
    while (marker := data[position : position + 2]).startswith(b"\xff") and marker != _START_OF_SCAN:
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == _HUFFMAN_TABLES:
            table_bytes += length - 2
        position += 2 + length
    return table_bytes not in _STANDARD_TABLE_BYTES


def _jpeg_settings(source: dict[str, Any]) -> dict[str, Any]:
    if "qtables" not in source:
        return {"quality": 95, "subsampling": 0}
    settings = {"qtables": source["qtables"], "optimize": source["optimize"], "progressive": source["progressive"]}
    return settings | ({"subsampling": source["subsampling"]} if source["subsampling"] >= 0 else {})


def _webp_settings(source: dict[str, Any]) -> dict[str, Any]:
    if source.get("lossless", True):
        return {"lossless": True, "exact": True, "method": 0}
    return {"quality": 90}


_FORMAT_SETTINGS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "PNG": lambda _: {"compress_level": 3},
    "JPEG": _jpeg_settings,
    "WEBP": _webp_settings,
    "TIFF": lambda source: {
        "compression": source.get("compression", "tiff_deflate"),
        "tiffinfo": source.get("tiffinfo", {}),
    },
    "BMP": lambda _: {},
    "PPM": lambda _: {},
}

# What always works where an encoder refuses the settings of the source.
_SAFE_SETTINGS: dict[str, dict[str, Any]] = {
    "JPEG": {"optimize": False, "progressive": False},
    "TIFF": {"compression": "tiff_deflate"},
}
