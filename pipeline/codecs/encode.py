"""Encodes pixels in the format, settings and metadata of their source."""

import io
from collections.abc import Sequence
from numbers import Real

import numpy as np
from PIL import Image, TiffImagePlugin

from pipeline.codecs.codec import Settings
from pipeline.codecs.jpeg import segments as jpeg_segments
from pipeline.codecs.jpeg.filled import Colours, Filled
from pipeline.codecs.jpeg.filled import encode_filled as encode_filled_jpeg
from pipeline.codecs.metadata_formats.exif import orientation_only
from pipeline.codecs.photo import Photo
from pipeline.codecs.png import chunks as png_chunks
from pipeline.codecs.registry import codec_of
from pipeline.codecs.tiff import bands as tiff_bands
from pipeline.codecs.tiff import jpeg as tiff_jpeg
from pipeline.codecs.tiff import tags as tiff_tags
from pipeline.codecs.tiff.writer import encode_tiff
from pipeline.containers import CONTAINERS, KEPT_FORMATS, SOURCE_FORMAT, SOURCE_OR_PNG
from pipeline.errors import MACHINE_ERRORS, SampleError

# Modes that each format holds without loss; other combinations fail with a message rather than convert.
FORMAT_MODES = {container.name: container.modes for container in CONTAINERS if container.modes}
_KEPT = ("exif", "icc_profile", "dpi", "xmp")
# Compressions of TIFF without loss that Pillow writes; with JPEG and WebP it does not know how well a file was stored.
_LOSSLESS_TIFF = ("raw", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits", "lzma", "zstd")
_MAX_SIDE_PX = {container.name: container.max_side_px for container in CONTAINERS}
_MAX_JPEG_EXIF_BYTES = 65533  # of one segment


def check_encodable(photo: Photo, image_format: str) -> str:
    """Return Pillow's name of the output format, and check before the model runs that it can hold the photo.

    Raises:
        SampleError: the format cannot hold the photo's mode, size or ICC profile.
    """
    container = photo.format if image_format in KEPT_FORMATS else image_format.upper()
    if image_format == SOURCE_OR_PNG and not _holds(container, photo):
        container = "PNG"
    if not _holds(container, photo):
        advice = "source-or-png" if image_format == SOURCE_FORMAT else "source"
        sentence = f"{container} cannot hold {photo.mode} pixels exactly; set sink.image_format={advice}"
        raise SampleError("encode", "UnsupportedMode", sentence)
    (height, width), max_px = photo.pixels.shape[:2], _MAX_SIDE_PX.get(container)
    if max_px and max(height, width) > max_px:
        advice = "png" if photo.mode in FORMAT_MODES["PNG"] else "source"
        sentence = f"{container} holds at most {max_px} pixels per side, the image is {width}x{height}"
        raise SampleError("encode", "UnsupportedSize", f"{sentence}; set sink.image_format={advice}")
    if container == "PNG" and "chunks" not in photo.encoder:
        profile_bytes, max_bytes = len(photo.encoder.get("icc_profile", b"")), png_chunks.MAX_PILLOW_PROFILE_BYTES
        if profile_bytes > max_bytes:
            sentence = f"readers refuse a PNG with an ICC profile of {profile_bytes} bytes, more than {max_bytes}"
            advice = "source" if _holds(photo.format, photo) else "webp"
            raise SampleError("encode", "UnsupportedMetadata", f"{sentence}; set sink.image_format={advice}")
    return container


def encode(photo: Photo, pixels: np.ndarray, image_format: str) -> tuple[bytes, str]:
    """Encode changed pixels of a photo.

    Args:
        photo: where the pixels came from.
        pixels: of the same shape and mode.
        image_format: ``source`` keeps format and settings, ``source-or-png`` where the format holds the photo; ``png``
            and ``webp`` are lossless; ``jpeg`` has quality 95, or the tables that a JPEG came with.

    Returns:
        The file's bytes and Pillow's name of its format.

    Raises:
        SampleError: the format cannot hold the photo's mode or size, or the encoder fails.
    """
    container = check_encodable(photo, image_format)
    is_kept = container == photo.format and image_format != "webp"  # which is lossless, whatever the file was
    source = photo.encoder if is_kept else {}
    try:
        if container == "TIFF" and not _is_pillows_tiff(photo):
            return _encode_tiff(photo, pixels), container
        if "X" in photo.mode:  # a band without a meaning, for which only TIFF has room
            pixels = pixels[..., 0] if photo.mode == "LX" else np.ascontiguousarray(pixels[..., :-1])
        elif photo.is_premultiplied and container != "TIFF":  # the others have no such alpha
            pixels = tiff_bands.divided_by_alpha(pixels)
        if container == "PNG":
            return png_chunks.encode_png(pixels, _png_chunks(photo, source)), container
        return _encode_by_pillow(photo, pixels, container, source), container
    except MACHINE_ERRORS:
        raise
    except Exception as error:
        kind = type(error).__name__
        kind = "EncoderError" if kind == "error" else kind  # struct and zlib call theirs so
        raise SampleError("encode", kind, f"{container} encoder: {error}") from error


def encode_filled(
    photo: Photo, pixels: np.ndarray, image_format: str, source: bytes, mask: np.ndarray
) -> tuple[bytes, str, int | None]:
    """Encode a filled photo; a JPEG keeps the coefficients of all blocks without a filled pixel, where possible.

    Args:
        photo, pixels, image_format: see :func:`encode`.
        source: the file that the photo was decoded from.
        mask: (H, W) bool: where the pixels may differ from the photo's.

    Returns:
        The file's bytes, Pillow's name of its format, and the number of blocks with other coefficients than in the
        source; ``None`` where the whole photo was encoded.

    Raises:
        SampleError: see :func:`encode`.
    """
    container = check_encodable(photo, image_format)
    if container == photo.format == "JPEG":
        filled = _keep_blocks(photo, pixels, source, mask)
        if filled:
            return filled.data, container, filled.blocks_changed
    return *encode(photo, pixels, image_format), None


def _keep_blocks(photo: Photo, pixels: np.ndarray, source: bytes, mask: np.ndarray) -> Filled | None:
    settings = photo.encoder
    colours = Colours(photo.mode, settings.get("keep_rgb", False), settings.get("is_inverted", False))
    like, _ = encode(photo, np.ascontiguousarray(pixels[:1, :1]), SOURCE_FORMAT)  # of this only the metadata is used
    return encode_filled_jpeg(source, pixels, mask, colours, like)


def _holds(container: str | None, photo: Photo) -> bool:
    return _mode_in(photo, container) in FORMAT_MODES.get(container or "", ())


def _mode_in(photo: Photo, container: str | None) -> str:
    """Return the mode of a photo's pixels in a format: a band without a meaning is kept like alpha, or dropped."""
    return photo.mode.replace("X", "A") if container == "TIFF" else tiff_bands.without_extra_band(photo.mode)


def _is_pillows_tiff(photo: Photo) -> bool:
    """Return whether Pillow can write a TIFF photo with its compression, bands and tags."""
    source, compression = photo.encoder, photo.encoder.get("compression")
    tags = source.get("tiffinfo", Image.Exif()).keys()
    is_high_bit_depth = photo.mode.startswith("RGB") and photo.pixels.dtype == np.uint16
    is_other_band = photo.alpha is not None and _extra_samples(photo) != tiff_bands.UNASSOCIATED_ALPHA
    if is_high_bit_depth or is_other_band or "X" in photo.mode:
        return False
    has_groups = not TiffImagePlugin.TiffTags.TAGS_V2_GROUPS.keys().isdisjoint(tags)
    is_map = not tiff_tags.GEOGRAPHIC.keys().isdisjoint(tags)
    return compression in _LOSSLESS_TIFF and not is_map and (not has_groups or compression == "raw")


def _encode_tiff(photo: Photo, pixels: np.ndarray) -> bytes:
    """Encode a TIFF without Pillow: keep JPEG with its tables or no compression; all others become Deflate."""
    source, compression = photo.encoder, "raw" if photo.encoder.get("compression") == "raw" else "deflate"
    is_jpeg = (
        source.get("jpeg") and photo.mode in ("L", "RGB", "CMYK") and max(pixels.shape[:2]) <= tiff_jpeg.MAX_SIDE_PX
    )
    return encode_tiff(
        pixels,
        source.get("tiffinfo", Image.Exif()),
        source.get("icc_profile", b""),
        is_cmyk=photo.mode == "CMYK",
        extra_samples=_extra_samples(photo) if photo.alpha is not None or "X" in photo.mode else None,
        compression=tiff_jpeg.encode_strip(pixels, photo.mode, source["jpeg"]) if is_jpeg else compression,
    )


def _extra_samples(photo: Photo) -> tuple[int, ...] | None:
    """Return the meaning of a TIFF's last band, by TIFF's numbers."""
    return photo.encoder.get("extra_samples", tiff_bands.UNASSOCIATED_ALPHA)


def _kept(photo: Photo, container: str, wanted: Sequence[str] = _KEPT) -> Settings:
    """Return the metadata of a photo that a format can hold."""
    kept = {key: photo.encoder[key] for key in wanted if key in photo.encoder}
    dpi, limits = kept.pop("dpi", ()), codec_of(container).dpi_limits
    if dpi and limits and all(isinstance(value, Real) and limits[0] <= float(value) <= limits[1] for value in dpi):
        kept["dpi"] = dpi
    if container == "JPEG":
        if len(kept.get("exif", b"")) > _MAX_JPEG_EXIF_BYTES:
            kept["exif"] = orientation_only(kept["exif"])
        if len(kept.get("xmp", b"")) > jpeg_segments.MAX_XMP_BYTES:
            del kept["xmp"]
    return kept


def cut_metadata(photo: Photo, container: str) -> list[str]:
    """Describe the EXIF and XMP of a photo for which a format has no room."""
    if container != "JPEG" or "segments" in photo.encoder:
        return []
    is_long = {
        "only orientation kept: its EXIF leaves no room in a JPEG": len(photo.encoder.get("exif", b""))
        > _MAX_JPEG_EXIF_BYTES,
        "XMP left out: it leaves no room in a JPEG": len(photo.encoder.get("xmp", b"")) > jpeg_segments.MAX_XMP_BYTES,
    }
    return [sentence for sentence, is_true in is_long.items() if is_true]


def _png_chunks(photo: Photo, source: Settings) -> list[png_chunks.Chunk]:
    return source["chunks"] if "chunks" in source else png_chunks.new_chunks(**_kept(photo, "PNG"))


def _encode_by_pillow(photo: Photo, pixels: np.ndarray, container: str, source: Settings) -> bytes:
    kept = _kept(photo, container, ("dpi",) if "segments" in source else _KEPT)  # segments say the same, to the byte
    codec = codec_of(container)
    settings = codec.settings(source)
    # Pillow takes the mode from the array's shape and type; only CMYK and RGBA look the same.
    is_plain = not source.get("is_inverted", True) and photo.mode == "CMYK"  # a JPEG that Pillow would invert
    pixels = ~pixels if is_plain else pixels
    image = Image.fromarray(pixels, photo.mode) if photo.mode == "CMYK" else Image.fromarray(pixels)
    attempts = [settings, settings | codec.safe_settings] if codec.safe_settings else [settings]
    for number, attempt in enumerate(attempts, start=1):
        file = io.BytesIO()
        try:
            image.save(file, container, **kept, **attempt)
            break
        except (OSError, ValueError, TypeError, RuntimeError, SystemError):
            if number == len(attempts):
                raise
    data = jpeg_segments.without_adobe(file.getvalue()) if is_plain else file.getvalue()
    return jpeg_segments.with_metadata(data, source["segments"]) if "segments" in source else data
