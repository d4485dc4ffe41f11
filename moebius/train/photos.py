"""Photos packed once into one small file of pixels, and seeded crops from it.

``python -m moebius.train.photos FOLDER FILE.npz [--side 192] [--hold-out 24] [--leave-out NAMES.txt]`` packs a folder.
"""

import argparse
import logging
import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

logger = logging.getLogger(__name__)
UNKNOWN_LAYOUT = "Could not determine subsampling"  # TurboJPEG's refusal of what Pillow decodes all the same
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


class PhotosError(ValueError):
    """The photos cannot be trained on; the message says why."""


def list_photos(folder: Path) -> list[Path]:
    """List the photos directly inside a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def names_in(path: Path | None) -> set[str]:
    """Read a file with one name per line; ``None`` holds none."""
    return set(path.read_text().split("\n")) if path else set()


def packing_parser(prog: str, description: str | None, side_px: int) -> argparse.ArgumentParser:
    """Return a parser of what all kinds of packing take: FOLDER, TARGET, --side (a default) and --leave-out."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("folder", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--side", type=int, default=side_px, help="shorter side of the packed photos, in pixels")
    parser.add_argument("--leave-out", type=Path, help="file with names of photos to leave out, one per line")
    return parser


def held_out(names: list[str], count: int) -> set[str]:
    """Choose the names that training must never see: the ``count`` lowest CRC-32, so that added files move few."""
    return set(sorted(names, key=lambda name: (zlib.crc32(name.encode()), name))[:count])


def pack_photos(paths: list[Path], side_px: int, target: Path) -> None:
    """Scale each photo until its shorter side is ``side_px``, cut its middle to at most 3:2, write all to a file.

    Photos are turned upright by their EXIF orientation. A photo that cannot be read, is damaged, has transparent parts
    (whose colours are meaningless) or has 16 bits of grey is left out with a warning; the last warning counts them.

    Raises:
        PhotosError: none can be read.
    """
    names, arrays = [], []
    for path in paths:
        try:
            arrays.append(scaled_photo(path, side_px))
            names.append(path.name)
        except PhotosError as error:
            logger.warning("%s", error)
    if not arrays:
        raise PhotosError(f"none of {len(paths)} photos can be read")
    if left_out := len(paths) - len(arrays):
        logger.warning("%d of %d photos are left out of %s", left_out, len(paths), target)
    pixels = np.concatenate([array.reshape(-1) for array in arrays])
    np.savez(target, pixels=pixels, shapes=np.array([array.shape[:2] for array in arrays]), names=names)


def scaled_photo(path: Path, side_px: int) -> np.ndarray:
    """Read a photo: (H, W, 3) uint8, the shorter side ``side_px``, the longer one at most half as long again.

    Raises:
        PhotosError: see :func:`pack_photos`.
    """
    try:
        image = _upright(path, side_px)
    except Exception as error:  # Pillow has no error of its own
        raise PhotosError(f"{path} is left out: {error}") from error
    scale = side_px / min(image.size)
    width, height = (max(side_px, round(length * scale)) for length in image.size)
    array = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))
    longest = side_px * 3 // 2
    top, left = max(height - longest, 0) // 2, max(width - longest, 0) // 2
    return array[top : top + longest, left : left + longest]


def _upright(path: Path, side_px: int) -> Image.Image:
    """Read a photo in RGB, turned by its EXIF; a JPEG perhaps at a smaller size, at least twice ``side_px``."""
    with Image.open(path) as file:
        if file.format in ("JPEG", "MPO"):
            _check_jpeg(path.read_bytes())
        file.draft("RGB", (2 * side_px, 2 * side_px))
        if file.mode.startswith("I"):  # 16 bits, of which Pillow would cut off the bright ones
            raise ValueError(f"pixels of mode {file.mode}")
        image = ImageOps.exif_transpose(file)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if np.asarray(image)[..., 3].min() < 255:
            raise ValueError("it has transparent parts")
    return image.convert("RGB")


def _check_jpeg(data: bytes) -> None:
    """Refuse a damaged JPEG, for which Pillow returns whatever it could decode.

    Raises:
        ValueError: the image is damaged; the message is libjpeg's.
    """
    import simplejpeg  # not at the top: packed photos are trained on without it

    try:
        simplejpeg.decode_jpeg(data, min_height=1, min_width=1)  # reads all, and computes an eighth of the pixels
    except ValueError as error:
        if UNKNOWN_LAYOUT not in str(error):
            raise


class PhotoCrops:
    """Random square crops, a pure function of the seed and the step.

    Args:
        path: file written by :func:`pack_photos`.
        size_px: side of the crops.

    Raises:
        PhotosError: no file of packed photos, or photos smaller than the crops.
    """

    def __init__(self, path: str | Path, size_px: int) -> None:
        try:
            with np.load(path, allow_pickle=False) as packed:
                pixels, shapes = packed["pixels"], packed["shapes"]
            parts = np.split(pixels, np.cumsum(shapes.prod(axis=1) * 3)[:-1])
            self.photos = [part.reshape(*shape, 3) for part, shape in zip(parts, shapes, strict=True)]
            smallest = int(shapes.min())
        except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, BadZipFile) as error:
            raise PhotosError(
                f"{path} holds no packed photos: make it by python -m moebius.train.photos FOLDER {path}"
            ) from error
        if smallest < size_px:
            raise PhotosError(
                f"photos must be at least {size_px} px, got one of {smallest} px in {path}: "
                "pack them anew with a larger --side"
            )
        self.size_px = size_px

    def batch(self, count: int, rng: np.random.Generator) -> Tensor:
        """Draw (count, 3, size, size) float32 in [-1, 1]: random photos, scales, places and mirrored sides."""
        return torch.stack([self._crop(rng) for _ in range(count)])

    def _crop(self, rng: np.random.Generator) -> Tensor:
        photo = self.photos[rng.integers(len(self.photos))]
        shortest = min(photo.shape[:2])
        side = int(rng.integers(self.size_px, shortest + 1))
        top, left = (int(rng.integers(length - side + 1)) for length in photo.shape[:2])
        crop = photo[top : top + side, left : left + side]
        if side != self.size_px:
            size = (self.size_px, self.size_px)
            crop = np.asarray(Image.fromarray(crop).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        return torch.from_numpy(crop.copy()).permute(2, 0, 1).float() / 127.5 - 1


def main() -> None:
    """Pack a folder; photos left out are packed into FILE.held_out.npz, their names written to FILE.held_out.txt."""
    parser = packing_parser("moebius.train.photos", main.__doc__, side_px=192)
    parser.add_argument("--hold-out", type=int, default=24, help="photos that are left out besides")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    if options.target.suffix != ".npz" or options.side < 1 or options.hold_out < 0:
        parser.error("FILE must end in .npz, --side be at least 1 and --hold-out at least 0")
    try:
        _pack(options)
    except (OSError, PhotosError) as error:
        parser.error(str(error))


def _pack(options: argparse.Namespace) -> None:
    paths = list_photos(options.folder) if options.folder.is_dir() else []
    names = [path.name for path in paths]
    aside = held_out(names, options.hold_out) | names_in(options.leave_out) & set(names)
    if len(aside) == len(paths):
        kinds = ", ".join(SUFFIXES)
        raise PhotosError(f"{options.folder} holds {len(paths)} photos ({kinds}), of which {len(aside)} are held out")
    options.target.parent.mkdir(parents=True, exist_ok=True)
    pack_photos([path for path in paths if path.name not in aside], options.side, options.target)
    if aside:
        left_out = [path for path in paths if path.name in aside]
        pack_photos(left_out, options.side, options.target.with_suffix(".held_out.npz"))
    options.target.with_suffix(".held_out.txt").write_text("".join(f"{name}\n" for name in sorted(aside)))


if __name__ == "__main__":
    main()
