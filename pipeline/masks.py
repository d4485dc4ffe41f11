"""Masks: which file belongs to which image, and what it says to repaint."""

import math
import posixpath

import numpy as np
import pyarrow as pa
from scipy import ndimage

from pipeline.catalog import Catalog, in_batches
from pipeline.codec import load_pixels, open_checked
from pipeline.config import MaskConfig
from pipeline.errors import ConfigError, SampleError
from pipeline.sources import is_image
from pipeline.storage import Storage

MASK_FILES = pa.schema([("key", pa.string()), ("size_bytes", pa.int64()), ("version", pa.string())])
IMAGES = MASK_FILES.append(pa.field("wanted", pa.string()))


class PairedMasks:
    """One mask file for each image, found by template, by the same path, or by the same stem."""

    def __init__(self, config: MaskConfig, storage: Storage, source: Storage) -> None:
        if not storage.exists():
            raise ConfigError(f"mask.uri: nothing at {storage}")
        self.among_images = str(storage) == str(source)
        if self.among_images and config.template is None:
            raise ConfigError(
                "masks among the images need a name of their own: set mask.template, e.g. {dir}{stem}_mask.png"
            )
        self.template = config.template
        self.storage = storage

    def wanted(self, image_key: str) -> str:
        """Name of an image's mask: by the template, else the image's own path."""
        if self.template is None:
            return image_key
        folder, name = posixpath.split(image_key)
        stem, extension = posixpath.splitext(name)
        return self.template.format(path=image_key, dir=f"{folder}/" if folder else "", stem=stem, ext=extension)

    def pair(self, catalog: Catalog) -> None:
        """Make the table ``samples`` of ``images`` and the mask files."""
        files = (file for file in self.storage.list_files() if is_image(file.key))
        catalog.create("masks", MASK_FILES, in_batches(files, MASK_FILES))
        catalog.run(_PAIR_BY_PATH if self.template else _PAIR_BY_PATH_OR_STEM)
        if self.among_images:  # whatever is the mask of another image is no image
            catalog.run(
                "DELETE FROM samples WHERE sample_id IN (SELECT mask_key FROM samples WHERE mask_key <> sample_id)"
            )


class StaticMask:
    """One mask file for all images of its size."""

    def __init__(self, config: MaskConfig, storage: Storage, source: Storage) -> None:
        if not storage.is_file():
            raise ConfigError(f"mask.uri must be one file for mask.kind=static, found none at {storage}")
        self.storage = storage

    def wanted(self, image_key: str) -> None:
        """No name of its own."""

    def pair(self, catalog: Catalog) -> None:
        """Make the table ``samples`` of ``images`` and the one mask, whose key below its own uri is empty."""
        catalog.create("masks", MASK_FILES, in_batches([self.storage.stat()], MASK_FILES))
        catalog.run(_SAMPLES.format(pairs="images, masks mask"))


# A mask that is drawn anew, or appears at last, makes the sample a changed one.
_SAMPLES = """
CREATE TABLE samples AS SELECT
    images.key AS sample_id,
    images.version || coalesce(' mask:' || mask.version, '') AS input_version,
    images.size_bytes + coalesce(mask.size_bytes, 0) AS size_bytes,
    mask.key AS mask_key
FROM {pairs}"""

_PAIR_BY_PATH = _SAMPLES.format(pairs="images LEFT JOIN masks mask ON mask.key = images.wanted")

_STEM = r"regexp_replace(key, '\.[^./]*$', '')"

# Of several masks with the image's stem, the one of the same path counts, else a .png, else the first by name.
_PAIR_BY_PATH_OR_STEM = _SAMPLES.format(
    pairs=f"""(
        SELECT images.*, coalesce(same.key, substr(alike.ranked, 2)) AS mask_key
        FROM (SELECT *, {_STEM} AS stem FROM images) images
        LEFT JOIN masks same ON same.key = images.wanted
        LEFT JOIN (
            SELECT {_STEM} AS stem,
                min(if(ends_with(key, '.png'), '0', '1') || key) AS ranked
            FROM masks GROUP BY ALL
        ) alike ON alike.stem = images.stem
    ) images LEFT JOIN masks mask ON mask.key = images.mask_key"""
)

MASKS: dict[str, type[PairedMasks] | type[StaticMask]] = {"paired": PairedMasks, "static": StaticMask}


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
    full_scale = 1 if values.dtype == np.bool_ else np.iinfo(values.dtype).max
    mask = values >= max(1, math.ceil(config.threshold * full_scale))
    if config.invert:
        mask = ~mask
    if config.dilate_px:
        mask = ndimage.maximum_filter(mask, size=2 * config.dilate_px + 1, mode="constant")
    fraction = np.count_nonzero(mask) / mask.size
    if fraction > config.max_fraction:
        raise SampleError(
            "mask",
            "MaskTooLarge",
            f"the mask covers {fraction:.1%} of the image, mask.max_fraction={config.max_fraction}",
        )
    return mask
