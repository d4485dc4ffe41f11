"""Masks: which file belongs to which image, and what it says to repaint."""

import posixpath
from collections.abc import Iterable

import numpy as np
from scipy import ndimage

from pipeline.codec import load_pixels, open_checked
from pipeline.config import MaskConfig
from pipeline.errors import ConfigError, SampleError
from pipeline.sources import is_image
from pipeline.storage import Storage, StoredFile


class PairedMasks:
    """One mask file for each image, found by template, by the same path, or by the same stem."""

    def __init__(self, config: MaskConfig, storage: Storage, source: Storage) -> None:
        if not storage.exists():
            raise ConfigError(f"mask.uri: nothing at {storage}")
        if str(storage) == str(source) and config.template is None:
            raise ConfigError(
                "masks among the images need a name of their own: set mask.template, e.g. {dir}{stem}_mask.png"
            )
        self.template = config.template
        self.storage = storage
        self._by_key = {file.key: file for file in storage.list_files() if is_image(file.key)}
        self._by_stem: dict[str, StoredFile] = {}
        for key in sorted(self._by_key, key=lambda key: (not key.endswith(".png"), key)):
            self._by_stem.setdefault(posixpath.splitext(key)[0], self._by_key[key])

    def find(self, image_key: str) -> StoredFile | None:
        """The mask of an image, by its path below the source."""
        stem, extension = posixpath.splitext(image_key)
        if self.template is None:
            return self._by_key.get(image_key) or self._by_stem.get(stem)
        folder = posixpath.dirname(image_key)
        name = self.template.format(
            path=image_key,
            dir=f"{folder}/" if folder else "",
            stem=posixpath.basename(stem),
            ext=extension,
        )
        return self._by_key.get(name)


class StaticMask:
    """One mask file for all images of its size."""

    def __init__(self, config: MaskConfig, storage: Storage, source: Storage) -> None:
        if not storage.is_file():
            raise ConfigError(f"mask.uri must be one file for mask.kind=static, found none at {storage}")
        self.storage = storage
        self._file = storage.stat()

    def find(self, image_key: str) -> StoredFile:
        """The one mask, whatever the image."""
        return self._file


MASKS: dict[str, type[PairedMasks] | type[StaticMask]] = {"paired": PairedMasks, "static": StaticMask}


def without_masks(files: Iterable[StoredFile], source: Storage, masks: PairedMasks | StaticMask) -> list[StoredFile]:
    """The files of a source that are not masks themselves, where masks lie among the images."""
    if str(masks.storage) != str(source):
        return outside(files, source, masks.storage)
    files = list(files)  # side by side: whatever is the mask of another image is no image
    taken = {mask.key for file in files if (mask := masks.find(file.key)) and mask.key != file.key}
    return [file for file in files if file.key not in taken]


def outside(files: Iterable[StoredFile], source: Storage, other: Storage) -> list[StoredFile]:
    """The files of a source that do not lie in another storage."""
    prefix = str(other).removeprefix(f"{source}/")
    if prefix == str(other):
        return list(files)
    return [file for file in files if file.key != prefix and not file.key.startswith(f"{prefix}/")]


def decode_mask(data: bytes, shape: tuple[int, int], config: MaskConfig, max_pixels: int) -> np.ndarray:
    """What to repaint, at the image's size.

    A colour mask counts by its strongest channel, transparent pixels as zero.

    Args:
        data: the mask file.
        shape: height and width of the image, as stored.
        config: threshold, inversion, dilation and largest share.
        max_pixels: limit, checked before decoding.

    Returns:
        (H, W) bool, true = repaint.

    Raises:
        SampleError: unreadable, of another size than the image, or covering too much of it.
    """
    image = open_checked(data, max_pixels, stage="mask")
    if (image.height, image.width) != shape:
        raise SampleError(
            "mask",
            "MaskSizeMismatch",
            f"the mask is {image.width}x{image.height}, the image is stored as {shape[1]}x{shape[0]} pixels",
        )
    load_pixels(image, stage="mask")
    if image.mode in ("1", "L") or image.mode.startswith("I;16"):
        values = np.asarray(image)
    else:
        rgba = np.asarray(image.convert("RGBA"))
        values = rgba[..., :3].max(axis=2) * (rgba[..., 3] > 0)
    scale = 1 if values.dtype == np.bool_ else np.iinfo(values.dtype).max
    mask = (values >= config.threshold * scale) & (values > 0)
    if config.invert:
        mask = ~mask
    if config.dilate_px:
        mask = ndimage.maximum_filter(mask, size=2 * config.dilate_px + 1, mode="constant")
    fraction = float(mask.mean())
    if fraction > config.max_fraction:
        raise SampleError(
            "mask",
            "MaskTooLarge",
            f"the mask covers {fraction:.1%} of the image, mask.max_fraction={config.max_fraction}",
        )
    return mask
