"""Decodes compressed images to pixels of the stored mode and bit depth."""

from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from pipeline.codecs.high_bit_depth import decode_high_bit_depth, full_scale_grey
from pipeline.codecs.identification.header import open_checked
from pipeline.codecs.identification.signatures import describe_tiff
from pipeline.codecs.jpeg import settings as jpeg_settings
from pipeline.codecs.jpeg.pixels import JPEG_MODES, decode_jpeg
from pipeline.codecs.metadata_formats import exif, exif_thumbnails, xmp
from pipeline.codecs.other_containers.heif_boxes import MainPicture, read_main_picture
from pipeline.codecs.photo import Photo
from pipeline.codecs.registry import codec_of
from pipeline.codecs.tiff import bands as tiff_bands
from pipeline.codecs.tiff import tags as tiff_tags
from pipeline.errors import MACHINE_ERRORS, SampleError

_HEIF_KINDS = ("AVIF", "HEIF")
_PLAIN_MODES = {"1": "L", "P": "RGB", "PA": "RGBA", "YCbCr": "RGB", "RGBX": "RGB", "RGBa": "RGBA", "La": "LA"}
_KEPT_MODES = ("L", "LA", "RGB", "RGBA", "CMYK", "I;16")
_SCALED_GREY = {"L;2": 85, "L;4": 17}  # factors by which Pillow scales the pixels, but not the transparent grey
# Inverse of the rotation that Pillow applies to a TIFF when it loads it.
_TURNED_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def load_pixels(image: Image.Image, data: bytes, stage: str = "decode") -> Image.Image:
    """Decode an opened image, as it is stored: no orientation turns it. Grey of 16 bits is 0 for black.

    Args:
        image: as :func:`open_checked` opened it.
        data: the file that it was opened from.
        stage: named in errors.

    Raises:
        SampleError: the data is cut short or damaged.
    """
    if _is_jpeg(image):
        return Image.fromarray(decode_jpeg(data, image.mode, stage), image.mode if image.mode == "CMYK" else None)
    check_whole(image, data, stage)
    try:
        turned = image.tag_v2.get(tiff_tags.ORIENTATION) if isinstance(image, TiffImagePlugin.TiffImageFile) else None
        tiles = getattr(image, "tile", ()) if image.format == "PNG" else ()
        stored = tiles[0].args if tiles else None
        image.load()
        if stored in _SCALED_GREY and isinstance(image.info.get("transparency"), int):
            image.info["transparency"] *= _SCALED_GREY[stored]
        if isinstance(image, TiffImagePlugin.TiffImageFile) and image.mode.startswith("I;16"):
            image = full_scale_grey(image)
        return image.transpose(_TURNED_BACK[turned]) if turned in _TURNED_BACK else image
    except MACHINE_ERRORS:
        raise
    except Exception as error:
        kind = "TruncatedImage" if "truncated" in str(error) else "BrokenImage"
        raise SampleError(stage, kind, f"{image.format} cannot be decoded: {error}") from error


def _is_jpeg(image: Image.Image) -> bool:
    return image.format in ("JPEG", "MPO") and image.mode in JPEG_MODES


def check_whole(image: Image.Image, data: bytes, stage: str) -> None:
    """Detect faults that Pillow ignores: missing and damaged pixels, and alpha in a BMP."""
    try:
        codec_of(image.format).check_whole(image, data, stage)
    except (SampleError, *MACHINE_ERRORS):
        raise
    except Exception as error:  # tags may be anything
        raise SampleError(stage, "BrokenImage", f"{image.format} cannot be decoded: {error}") from error


def bits_per_channel(image: Image.Image, data: bytes) -> int:
    """Return the bits per channel of the file, where Pillow might reduce them to 8."""
    if picture := _main_picture(image, data):
        return picture.bits
    try:
        return codec_of(image.format).bits(image, data)
    except (ValueError, IndexError, TypeError) as error:
        raise SampleError("decode", "BrokenImage", f"{image.format} without a depth: {error}") from error


def _main_picture(image: Image.Image, data: bytes) -> MainPicture | None:
    """Return depth and colours of an AVIF or HEIC file; ``None`` for other formats."""
    try:
        return read_main_picture(data) if image.format in _HEIF_KINDS else None
    except (ValueError, IndexError, TypeError) as error:
        raise SampleError("decode", "BrokenImage", f"{image.format} without a depth: {error}") from error


def decode(data: bytes, max_pixels: int, header: Image.Image | None = None) -> Photo:
    """Decode an image, keeping its mode as far as an encoder can write it back.

    Args:
        data: the compressed image.
        max_pixels: limit, checked before a pixel is decoded.
        header: what :func:`open_checked` made of it, where that was called before.

    Raises:
        SampleError: unreadable, truncated, too large, several frames, or pixels that cannot be kept as they are.
    """
    image = header or open_checked(data, max_pixels)
    container = "JPEG" if image.format == "MPO" else str(image.format)
    picture = _main_picture(image, data)
    bits = picture.bits if picture else bits_per_channel(image, data)
    try:
        encoder = _encoder_settings(image, data)
    except MACHINE_ERRORS:
        raise
    except Exception as error:
        raise SampleError("decode", "BrokenImage", f"{container} with broken metadata: {error}") from error
    if isinstance(image, TiffImagePlugin.TiffImageFile) and (mode := tiff_bands.stored_mode(image, bits)):
        check_whole(image, data, "decode")
        return Photo(tiff_bands.decode_stored(image, mode, data), mode, container, encoder)
    if _is_jpeg(image):
        pixels = decode_jpeg(data, image.mode)
        has_plain_inks = image.mode == "CMYK" and not jpeg_settings.is_inverted(image)
        return Photo(~pixels if has_plain_inks else pixels, image.mode, "JPEG", encoder)
    if picture and picture.has_other_colours:
        message = f"{container} with colours other than sRGB that only numbers describe is not supported"
        raise SampleError("decode", "UnsupportedMode", message)
    if bits > 8 and (image.mode in ("RGB", "RGBA") or "transparency" in image.info):
        check_whole(image, data, "decode")
        pixels, mode = decode_high_bit_depth(image, data)
        return Photo(pixels, mode, container, encoder)
    image = load_pixels(image, data)
    if container == "PNG":  # chunks after the pixels have been read by now
        encoder |= _metadata(image)
    if bits > 8 and not image.mode.startswith("I;16"):
        why = describe_tiff(data) if container == "TIFF" else None
        message = f"the image is {why}" if why else f"{container} of {bits} bits"
        raise SampleError("decode", "UnsupportedMode", f"{message}, in mode {image.mode}, which is not kept")
    pixels, mode = _plain_pixels(image, container)
    return Photo(pixels, mode, container, encoder)


def _plain_pixels(image: Image.Image, container: str) -> tuple[np.ndarray, str]:
    """Return pixels and mode of a decoded image, with palettes resolved."""
    try:
        if "transparency" in image.info:
            image = image.convert("RGBA")
        elif image.mode in _PLAIN_MODES:
            image = image.convert(_PLAIN_MODES[image.mode])
    except MACHINE_ERRORS:
        raise
    except Exception as error:
        raise SampleError("decode", "BrokenImage", f"{container} with a broken palette: {error}") from error
    mode = "I;16" if image.mode.startswith("I;16") else image.mode
    if mode not in _KEPT_MODES:
        raise SampleError("decode", "UnsupportedMode", f"{container} in mode {image.mode} cannot be kept exactly")
    pixels = np.asarray(image)
    return (pixels.astype(np.uint16) if mode == "I;16" else pixels), mode


def _metadata(image: Image.Image, stored_exif: bytes = b"") -> dict[str, Any]:
    """Return the metadata that other formats can keep as well, with EXIF as in JPEG.

    Args:
        image: opened.
        stored_exif: replaces the EXIF that Pillow has read.
    """
    kept = {key: image.info[key] for key in ("icc_profile", "exif", "dpi", "xmp") if image.info.get(key)}
    if stored_exif:
        kept["exif"] = stored_exif
    if "exif" in kept:
        bare = kept["exif"].removeprefix(exif.PREFIX)  # as WebP has it
        kept["exif"] = exif.PREFIX + exif_thumbnails.without_thumbnail(bare)
    if "xmp" in kept:
        text = kept["xmp"]  # Pillow reads that of a PNG as text
        kept["xmp"] = xmp.still_true(text.encode() if isinstance(text, str) else text)
    return {key: value for key, value in kept.items() if value}


def _encoder_settings(image: Image.Image, data: bytes) -> dict[str, Any]:
    codec = codec_of(image.format)
    kept = _metadata(image, codec.stored_exif(data))
    codec.keep(image, data, kept)
    return kept
