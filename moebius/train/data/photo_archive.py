"""Photos as one small archive of WebP pictures, for training on a machine that the data must travel to.

``python -m moebius.train.data.photo_archive FOLDER FILE.zip [--side 448] [--quality 90] [--leave-out NAMES.txt]``
"""

import io
import logging
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from moebius.train.photos import PhotosError, list_photos, names_in, packing_parser, scaled_photo

logger = logging.getLogger(__name__)


def write_archive(paths: list[Path], side_px: int, quality: int, target: Path) -> int:
    """Scale photos as :func:`moebius.train.photos.pack_photos` does and store each as WebP, under its name.

    Args:
        paths: of photos; one that cannot be read is left out with a warning.
        side_px: shorter side.
        quality: of WebP, 0 … 100.
        target: the zip file.

    Returns:
        Number of photos stored.

    Raises:
        PhotosError: none can be read.
    """
    count = 0
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in paths:
            try:
                pixels = scaled_photo(path, side_px)
            except PhotosError as error:
                logger.warning("%s", error)
                continue
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "WEBP", quality=quality, method=6)
            archive.writestr(f"{path.stem}.webp", buffer.getvalue())
            count += 1
    if not count:
        raise PhotosError(f"none of {len(paths)} photos can be read")
    return count


def read_archive(path: Path, threads: int) -> list[np.ndarray]:
    """Decode all photos of an archive: (H, W, 3) uint8 each, in the order of their names.

    Raises:
        PhotosError: no such archive, or a picture in it that cannot be decoded.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            stored = [archive.read(name) for name in sorted(archive.namelist())]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(_decoded, stored))
    except (OSError, zipfile.BadZipFile) as error:
        raise PhotosError(f"{path} holds no readable archive of photos: {error}") from error


def _decoded(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def main() -> None:
    """Store the photos of a folder, without those that a file names."""
    parser = packing_parser("moebius.train.data.photo_archive", main.__doc__, side_px=448)
    parser.add_argument("--quality", type=int, default=90, help="of WebP")
    options = parser.parse_args()
    try:
        left_out = names_in(options.leave_out)
        paths = [path for path in list_photos(options.folder) if path.name not in left_out]
        write_archive(paths, options.side, options.quality, options.target)
    except (OSError, PhotosError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
