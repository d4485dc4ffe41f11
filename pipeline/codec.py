"""Compressed bytes to pixels and back, keeping format, colour mode, alpha, EXIF and ICC profile."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from pipeline.errors import SampleError

# What each format holds without loss of a mode; other combinations fail with a sentence rather than convert.
FORMAT_MODES = {
    "PNG": ("L", "LA", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("L", "LA", "RGB", "RGBA"),
    "TIFF": ("L", "LA", "RGB", "RGBA", "CMYK", "I;16"),
    "BMP": ("L", "RGB"),
    "PPM": ("L", "RGB"),
}
_PLAIN_MODES = {"1": "L", "P": "RGB", "PA": "RGBA", "YCbCr": "RGB", "RGBX": "RGB", "RGBa": "RGBA", "La": "LA"}
_PNG_16_BIT_COLOUR = ((16, 2), (16, 4), (16, 6))  # bit depth and colour type that Pillow would cut to 8 bits


@dataclass(frozen=True)
class Photo:
    """A decoded image.

    Args:
        pixels: (H, W) or (H, W, bands) as decoded, uint8 or uint16.
        mode: Pillow's name of the pixels' layout.
        format: Pillow's name of the container it came in.
        encoder: what the encoder needs to keep: profiles, tables, settings.
    """

    pixels: np.ndarray
    mode: str
    format: str
    encoder: dict[str, Any] = field(default_factory=dict)

    def rgb(self) -> np.ndarray:
        """What the model sees: (H, W, 3) uint8, without alpha."""
        if self.mode == "I;16":
            return np.repeat((self.pixels >> 8).astype(np.uint8)[..., None], 3, axis=2)
        if self.mode in ("RGB", "RGBA"):
            return self.pixels[..., :3]
        if self.mode in ("L", "LA"):
            grey = self.pixels if self.mode == "L" else self.pixels[..., 0]
            return np.repeat(grey[..., None], 3, axis=2)
        return np.asarray(Image.fromarray(self.pixels, self.mode).convert("RGB"))

    def repainted(self, rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """A copy of ``pixels`` with the masked ones taken from ``rgb``; alpha stays.

        Args:
            rgb: (H, W, 3) uint8.
            mask: (H, W) bool.
        """
        result = self.pixels.copy()
        if self.mode in ("RGB", "RGBA"):
            np.copyto(result[..., :3], rgb, where=mask[..., None])
            return result
        colours = Image.fromarray(rgb[mask][None])  # the masked pixels as one row
        if self.mode == "CMYK":
            result[mask] = np.asarray(colours.convert("CMYK"))[0]
            return result
        grey = np.asarray(colours.convert("L"))[0]
        if self.mode == "LA":
            result[mask, 0] = grey
        else:
            result[mask] = grey.astype(result.dtype) * (257 if self.mode == "I;16" else 1)
        return result


def open_checked(data: bytes, max_pixels: int, stage: str = "decode") -> Image.Image:
    """Read an image's header, with all limits checked before a pixel is decoded.

    Raises:
        SampleError: not an image, too many pixels, or several frames.
    """
    Image.MAX_IMAGE_PIXELS = None  # max_pixels is our limit, checked below from the header alone
    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError as error:
        start = "empty" if not data else f"starts with {data[:16]!r}"
        raise SampleError(stage, "UnreadableImage", f"not an image of a known format ({start})") from error
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
        SampleError: unreadable, truncated, too large, several frames, or a mode that cannot be kept.
    """
    image = open_checked(data, max_pixels)
    if image.format == "PNG" and tuple(data[24:26]) in _PNG_16_BIT_COLOUR:
        raise SampleError("decode", "UnsupportedMode", "PNG with 16 bits a colour channel cannot be kept exactly yet")
    encoder = _encoder_settings(image, data)  # before load(), which drops some of it
    load_pixels(image)
    if "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode in _PLAIN_MODES:
        image = image.convert(_PLAIN_MODES[image.mode])
    mode = "I;16" if image.mode.startswith("I;16") else image.mode
    if mode not in FORMAT_MODES["TIFF"]:
        raise SampleError("decode", "UnsupportedMode", f"{image.format} in mode {image.mode} cannot be kept exactly")
    pixels = np.array(image)
    if mode == "I;16":
        pixels = pixels.astype(np.uint16)
    return Photo(pixels, mode, encoder.pop("format"), encoder)


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
    container = photo.format if image_format == "source" else image_format.upper()
    if photo.mode not in FORMAT_MODES.get(container, ()):
        advice = "set sink.image_format=png" if image_format == "source" else "set sink.image_format=source"
        raise SampleError("encode", "UnsupportedMode", f"{container} cannot hold {photo.mode} pixels exactly; {advice}")
    settings = {key: value for key, value in photo.encoder.items() if key in ("exif", "icc_profile", "dpi")}
    settings |= _FORMAT_SETTINGS[container](photo.encoder if container == photo.format else {})
    # Pillow takes the mode from the array's shape and type; only CMYK and RGBA look the same.
    image = Image.fromarray(pixels, photo.mode) if photo.mode == "CMYK" else Image.fromarray(pixels)
    buffer = io.BytesIO()
    try:
        image.save(buffer, container, **settings)
    except (OSError, ValueError) as error:
        raise SampleError("encode", type(error).__name__, f"{container} encoder: {error}") from error
    return buffer.getvalue(), container


def _encoder_settings(image: Image.Image, data: bytes) -> dict[str, Any]:
    kept = {key: image.info[key] for key in ("icc_profile", "exif", "dpi") if image.info.get(key)}
    kept["format"] = "JPEG" if image.format == "MPO" else image.format
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        kept["qtables"] = image.quantization
        kept["subsampling"] = JpegImagePlugin.get_sampling(image)
        kept["progressive"] = "progressive" in image.info
    if image.format == "WEBP":
        kept["lossless"] = b"VP8L" in data[:64] or b"VP8 " not in data
    if image.format == "TIFF":
        kept["compression"] = image.info.get("compression", "raw")
    return kept


def _jpeg_settings(source: dict[str, Any]) -> dict[str, Any]:
    if "qtables" not in source:
        return {"quality": 95, "subsampling": 0}
    settings = {"qtables": source["qtables"], "optimize": True, "progressive": source["progressive"]}
    return settings | ({"subsampling": source["subsampling"]} if source["subsampling"] >= 0 else {})


def _webp_settings(source: dict[str, Any]) -> dict[str, Any]:
    if source.get("lossless", True):
        return {"lossless": True, "exact": True, "method": 0}
    return {"quality": 90}


_FORMAT_SETTINGS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "PNG": lambda _: {"compress_level": 3},
    "JPEG": _jpeg_settings,
    "WEBP": _webp_settings,
    "TIFF": lambda source: {"compression": source.get("compression", "tiff_deflate")},
    "BMP": lambda _: {},
    "PPM": lambda _: {},
}
