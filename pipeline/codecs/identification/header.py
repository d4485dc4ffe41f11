"""Opens image files by signature, and checks all limits before a pixel is decoded."""

import io

from PIL import Image, UnidentifiedImageError

from pipeline.codecs.identification.kinds import HEIC_ADVICE
from pipeline.codecs.identification.signatures import (
    describe_foreign,
    describe_jpeg,
    describe_thumbnail,
    describe_tiff,
    image_kind,
    reason_of_plugin,
)
from pipeline.codecs.png.chunks import without_large_profile
from pipeline.codecs.png.integrity import check_chunks
from pipeline.containers import CONTAINERS
from pipeline.errors import MACHINE_ERRORS, SampleError

READABLE = [container.name for container in CONTAINERS if not container.extra]


def open_checked(data: bytes, max_pixels: int, stage: str = "decode") -> Image.Image:
    """Read an image's header, with all limits checked before a pixel is decoded.

    Raises:
        SampleError: not a supported image, damaged chunks of a PNG, too many pixels, or several frames.
    """
    Image.MAX_IMAGE_PIXELS = None  # max_pixels is our limit, checked below from the header only
    image = _open(data, stage)
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise SampleError(
            stage, "TooManyPixels", f"{image.width}x{image.height} is {pixels} pixels, limits.max_pixels={max_pixels}"
        )
    if pixels == 0:
        raise SampleError(stage, "UnreadableImage", f"{image.format} of {image.width}x{image.height} pixels")
    try:
        frames = getattr(image, "n_frames", 1) if image.format != "MPO" else 1
    except MACHINE_ERRORS:
        raise
    except Exception as error:
        raise SampleError(stage, "BrokenImage", f"{image.format} whose frames cannot be counted: {error}") from error
    if frames == 1 and image.format == "TIFF" and (why := describe_thumbnail(image)):
        raise SampleError(stage, "UnreadableImage", f"the file is {why}, which is not supported")
    if frames > 1:
        raise SampleError(stage, "SeveralFrames", f"{image.format} with {frames} frames; only single images are taken")
    return image


def _open(data: bytes, stage: str) -> Image.Image:
    kind = image_kind(data)
    if kind is None:
        raise SampleError(stage, "UnreadableImage", _refusal(data))
    if kind == "PNG":
        check_chunks(data, stage)
    if kind == "HEIF":
        _register_heif(stage)
    if kind == "JPEG" and (why := describe_jpeg(data)):
        raise SampleError(stage, "UnreadableImage", f"the file is {why}, which is not supported")
    try:
        return Image.open(io.BytesIO(without_large_profile(data)), formats=(kind,))
    except UnidentifiedImageError as error:
        why = describe_tiff(data) if kind == "TIFF" else None
        message = f"the file is {why}, which is not supported" if why else _unopened(data, kind)
        raise SampleError(stage, "UnreadableImage", message) from error
    except MACHINE_ERRORS:
        raise
    except Exception as error:
        message = f"the file begins as {kind}, but cannot be opened: {error}"
        raise SampleError(stage, "UnreadableImage", message) from error


def _refusal(data: bytes) -> str:
    kinds = ", ".join(READABLE)
    if known := describe_foreign(data):
        return f"the file is {known}, not a supported image ({kinds})"
    return f"not a supported image ({kinds}); it starts with {data[:16]!r}"


def _unopened(data: bytes, kind: str) -> str:
    return f"the file begins as {kind}, but cannot be opened: {reason_of_plugin(data, kind)}"


def _register_heif(stage: str) -> None:
    """Register HEIC with Pillow, if the extra is installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise SampleError(stage, "UnreadableImage", f"the file is HEIC; such files {HEIC_ADVICE}") from None
    register_heif_opener()
