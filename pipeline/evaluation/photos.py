"""Photos to measure on: found, looked at, and brought to the size at which they are measured."""

import math
import zlib
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from moebius.train.photos import SUFFIXES
from pipeline.codecs.decode import decode
from pipeline.codecs.identification.kinds import IMAGE_EXTENSIONS
from pipeline.errors import ConfigError, SampleError
from pipeline.report.inspector import NO_LIMIT

MIN_PX = 64  # of a photo's shorter side


def find_photos(folder: Path, limit: int | None) -> list[Path]:
    """Photos of a folder and of those inside it; of more than ``limit``, some by a hash of their names.

    Raises:
        ConfigError: no folder, or nothing in it; hidden files do not count.
    """
    photos = _find_files(folder, SUFFIXES)
    if not photos:
        raise ConfigError(f"evaluate needs a folder with JPEG, PNG or WebP photos, found none in {folder}")
    return sorted(sorted(photos, key=lambda path: (zlib.crc32(path.name.encode()), path))[:limit])


def find_masks(folder: Path) -> list[Path]:
    """Mask files of a folder and of those inside it, of every format that a job takes.

    Raises:
        ConfigError: no folder, or nothing in it; hidden files do not count.
    """
    masks = _find_files(folder, IMAGE_EXTENSIONS)
    if not masks:
        raise ConfigError(f"--mask-files needs a folder with images, found none in {folder}")
    return sorted(masks)


def _find_files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
    ]


def check_photos(photos: Iterable[Path], max_pixels: int | None) -> None:
    """Check the headers of photos, so that unusable ones are reported before hours of work.

    Args:
        photos: files.
        max_pixels: see :func:`read_photo`; ``None`` where squares are cut from them, of which any size will do.

    Raises:
        ConfigError: see :func:`read_photo`.
    """
    for path in photos:
        try:
            with Image.open(path) as image:
                size = image.size
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise _unreadable(path, str(error)) from error
        if max_pixels:
            _scaled_size(path, size, max_pixels)


def check_names(photos: Iterable[Path]) -> None:
    """Check that results, which have the names of their photos, can be told apart.

    Raises:
        ConfigError: two photos have the same name without its extension.
    """
    known: dict[str, Path] = {}
    for path in photos:
        other = known.setdefault(path.stem, path)
        if other is not path:
            raise ConfigError(
                f"results are named as their photos, but {other} and {path} have the same name; rename one of them"
            )


def read_photo(path: Path, max_pixels: int) -> np.ndarray:
    """Pixels as (H, W, 3) uint8, scaled down to ``max_pixels``.

    Raises:
        ConfigError: no readable image, or one of less than ``MIN_PX``.
    """
    image = _open_photo(path)
    size = _scaled_size(path, image.size, max_pixels)
    return np.asarray(image if size == image.size else image.resize(size, Image.Resampling.LANCZOS))


def read_square(path: Path, side_px: int) -> np.ndarray:
    """The middle of a photo, cut to a square and scaled: (side, side, 3) uint8.

    Raises:
        ConfigError: no readable image.
    """
    size = (side_px, side_px)
    return np.asarray(ImageOps.fit(_open_photo(path), size, Image.Resampling.LANCZOS))


def _open_photo(path: Path) -> Image.Image:
    """Open a photo and return its pixels as a job passes them to the model."""
    try:
        return Image.fromarray(decode(path.read_bytes(), NO_LIMIT).rgb())
    except (OSError, SampleError) as error:
        raise _unreadable(path, SampleError.wrap("read", error).message) from error


def _scaled_size(path: Path, size: tuple[int, int], max_pixels: int) -> tuple[int, int]:
    width, height = size
    scale = min(1.0, math.sqrt(max_pixels / (width * height)))
    scaled = (max(1, round(width * scale)), max(1, round(height * scale)))
    if min(scaled) < MIN_PX:
        raise ConfigError(f"photos to measure on must be at least {MIN_PX} px, got {scaled[0]}x{scaled[1]} of {path}")
    return scaled


def _unreadable(path: Path, reason: str) -> ConfigError:
    return ConfigError(f"{path} cannot be read as a photo; remove it from the folder: {reason}")
