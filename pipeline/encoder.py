"""Pixels back to compressed bytes, in the format and with the settings and the metadata that they came with."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from pipeline import jpeg_segments, png_chunks
from pipeline.deep_colour import encode_deep_tiff
from pipeline.errors import SampleError
from pipeline.photo import Photo

# What each format holds without loss of a mode; other combinations fail with a sentence rather than convert.
FORMAT_MODES = {
    "PNG": ("L", "LA", "RGB", "RGBA", "I;16", "LA;16", "RGB;16", "RGBA;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("L", "LA", "RGB", "RGBA"),
    "TIFF": ("L", "LA", "RGB", "RGBA", "CMYK", "I;16", "RGB;16", "RGBA;16"),
    "BMP": ("L", "RGB"),
    "PPM": ("L", "RGB"),
}
_KEPT = ("exif", "icc_profile", "dpi", "xmp")
Settings = dict[str, Any]


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
    source = photo.encoder if container == photo.format else {}
    try:
        if container == "PNG":
            return png_chunks.encode_png(pixels, _png_chunks(photo, source)), container
        if container == "TIFF" and photo.mode.startswith("RGB") and pixels.dtype == np.uint16:
            compressed = source.get("compression") != "raw"
            tags = source.get("tiffinfo", Image.Exif())
            return encode_deep_tiff(pixels, tags, photo.encoder.get("icc_profile", b""), compressed), container
        return _encode_by_pillow(photo, pixels, container, source), container
    except (OSError, ValueError, TypeError, RuntimeError, SystemError) as error:
        raise SampleError("encode", type(error).__name__, f"{container} encoder: {error}") from error


def _png_chunks(photo: Photo, source: Settings) -> list[png_chunks.Chunk]:
    if "chunks" in source:
        return source["chunks"]
    return png_chunks.new_chunks(**{key: photo.encoder[key] for key in _KEPT if key in photo.encoder})


def _encode_by_pillow(photo: Photo, pixels: np.ndarray, container: str, source: Settings) -> bytes:
    kept = {key: photo.encoder[key] for key in _KEPT if key in photo.encoder}
    if "segments" in source:  # they say the same, to the byte
        kept = {key: value for key, value in kept.items() if key == "dpi"}
    settings = _FORMAT_SETTINGS[container](source)
    # Pillow takes the mode from the array's shape and type; only CMYK and RGBA look the same.
    image = Image.fromarray(pixels, photo.mode) if photo.mode == "CMYK" else Image.fromarray(pixels)
    attempts = [settings, settings | _SAFE_SETTINGS[container]] if container in _SAFE_SETTINGS else [settings]
    for number, attempt in enumerate(attempts, start=1):
        file = io.BytesIO()
        try:
            image.save(file, container, **kept, **attempt)
            break
        except (OSError, ValueError, TypeError, RuntimeError, SystemError):
            if number == len(attempts):
                raise
    return jpeg_segments.with_metadata(file.getvalue(), source["segments"]) if "segments" in source else file.getvalue()


def _jpeg_settings(source: Settings) -> Settings:
    if "qtables" not in source:
        return {"quality": 95, "subsampling": 0}
    settings = {key: source[key] for key in ("qtables", "optimize", "progressive")}
    return settings | ({"subsampling": source["subsampling"]} if source["subsampling"] >= 0 else {})


def _webp_settings(source: Settings) -> Settings:
    if source.get("quality") is None:
        return {"lossless": True, "exact": True, "method": 0}
    return {"quality": source["quality"]}


def _tiff_settings(source: Settings) -> Settings:
    return {
        "compression": source.get("compression", "tiff_deflate"),
        "tiffinfo": source.get("tiffinfo", Image.Exif()),
    }


_FORMAT_SETTINGS: dict[str, Callable[[Settings], Settings]] = {
    "JPEG": _jpeg_settings,
    "WEBP": _webp_settings,
    "TIFF": _tiff_settings,
    "BMP": lambda _: {},
    "PPM": lambda _: {},
}

# What always works where an encoder refuses the settings of the source.
_SAFE_SETTINGS: dict[str, Settings] = {
    "JPEG": {"optimize": False, "progressive": False},
    "TIFF": {"compression": "tiff_deflate"},
}
