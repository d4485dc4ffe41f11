"""The interface of mask kinds.

Configurations load the file of their kind, so it imports heavy packages only in the methods that use them.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.config.job import JobConfig
from pipeline.config.mask import MaskConfig
from pipeline.config.rules import MaskPlace
from pipeline.errors import ConfigError
from pipeline.masks.registry import MASK_KINDS

if TYPE_CHECKING:
    import numpy as np

    from pipeline.codecs.photo import Photo
    from pipeline.database import Database
    from pipeline.masks.drawn import DrawnMask
    from pipeline.storage.storage import Storage

LOCATIONS = ("uri", "template", "member")  # keys that say where masks are


class MaskKind:
    """A mask kind; the defaults are those of a kind that makes masks from the image itself.

    Args:
        config: the settings of masks.

    Attributes:
        indifferent: keys of ``mask`` that do not decide a result.
        own_keys: keys that only some kinds have a use for, and this one has.
        root_uri: of the folder, or the one file, of ``mask.uri``.
        is_code: whether drawing runs code that the settings name; what shows a sink runs none that its files name.
        bytes_per_pixel: memory that drawing takes beside photo and mask, per pixel of the photo.
        place: where the masks lie.
        are_images: whether files at ``root_uri`` may be images, which are masks and no samples.
        left_out: counts of unpaired masks, by kind, after pairing.
        name_of: returns the name of a sample's mask, if masks have names of their own.
        storage: of ``root_uri``, once it is open.
    """

    own_keys: tuple[str, ...] = ()
    are_images = True
    indifferent: tuple[str, ...] = LOCATIONS
    is_code = False
    bytes_per_pixel = 0
    name_of: "Callable[[str], str] | None" = None

    def __init__(self, config: MaskConfig) -> None:
        self.config = config
        self.place, self.root_uri = MaskPlace(), config.uri
        self.left_out: Counter[str] = Counter()

    def check(self, source_format: str) -> None:
        """Refuse keys and source formats that do not fit the kind.

        Raises:
            ConfigError: naming the key.
        """
        if self.config.column:
            raise ConfigError(f"mask.column has no meaning for mask.kind={self.config.kind}")

    def check_installed(self) -> None:
        """Check that optional packages are installed; raise ``ConfigError`` otherwise."""

    def fetch(self, storage_options: Mapping[str, Any]) -> MaskConfig:
        """Return the settings with the paths of their files on this machine, and with what identifies these.

        Args:
            storage_options: of remote files.

        Raises:
            ConfigError: they cannot be used, or are not those that the settings identify.
        """
        return self.config

    def check_pinned(self) -> None:
        """Check that the settings tell everything that decides a mask; raise ``RuntimeError`` otherwise."""

    # On the driver.

    def open(self, storage: "Storage", source: "Storage") -> None:
        """Check what lies at ``mask.uri`` before anything is listed.

        Args:
            storage: of ``mask.uri``.
            source: of the images.

        Raises:
            ConfigError: nothing of this kind is there, or a package is missing.
        """
        self.check_installed()
        self.storage = storage

    def pair(self, database: "Database") -> None:
        """Create the table ``samples`` from ``images``."""
        from pipeline.masks.pairing import pair_inside

        pair_inside(database, "if(has_mask, '', NULL)" if self.place.is_beside_image else "''")

    def find_miss(self, database: "Database") -> str | None:
        """Return an example of a sample without a mask, as the end of a sentence; ``None`` where names say nothing.

        Args:
            database: with the tables ``images`` and ``samples``, and that of the masks.
        """
        return None

    def pair_listed(self, database: "Database") -> None:
        """Create the table ``samples`` from ``images`` of a list, without listing masks."""
        self.pair(database)

    def count_spare(self, database: "Database") -> dict[str, int]:
        """Count masks without a sample, by kind, after pairing."""
        return {}

    def annotations(self, storage: "Storage") -> Iterator[tuple[str, str]]:
        """Yield names of images and their annotations, where ``place.is_annotated``."""
        raise NotImplementedError(f"mask.kind={self.config.kind} has no annotations")

    # On a worker.

    def draw(self, data: bytes, photo: "Photo", max_pixels: int) -> "DrawnMask":
        """Return the mask of a photo as it is stored, before inversion and growth.

        Args:
            data: what lies at ``place``: a mask file, or the text of annotations; empty for masks of the image itself.
            photo: the decoded image.
            max_pixels: limit, checked before a mask file is decoded.

        Raises:
            SampleError: the mask cannot be used.
        """
        raise NotImplementedError

    def revealed(self, photo: "Photo", mask: "np.ndarray") -> "Photo":
        """Return the photo to inpaint, whose masked pixels must be visible in the result."""
        return photo

    def may_be_upright(self, shape: tuple[int, ...], orientation: int) -> bool:
        """Return whether a mask that fits the stored image may have been drawn on the image as shown.

        Args:
            shape: height and width of the image.
            orientation: of the image, 2 … 8 as in EXIF.
        """
        return False


def open_kind(config: MaskConfig) -> MaskKind:
    """Create the mask kind of a configuration."""
    kind: MaskKind = MASK_KINDS.load(config.kind)(config)
    return kind


def revealed(photo: "Photo", mask: "np.ndarray", config: MaskConfig) -> "Photo":
    """Return the photo to inpaint under a mask, (H, W) bool, of one or several kinds; see :meth:`MaskKind.revealed`."""
    for part in config.parts:
        photo = open_kind(part).revealed(photo, mask)
    return photo


def pinned(config: JobConfig) -> JobConfig:
    """Return a job with what identifies the files and functions of its detectors on this machine, and try these.

    Raises:
        ConfigError: see :meth:`MaskKind.fetch`; or a package is missing.
    """

    def pin(mask: MaskConfig) -> MaskConfig:
        return replace(_tried(mask, config.storage), model=mask.model, device=mask.device)

    return config.with_detectors(pin)


def fetched(config: JobConfig) -> JobConfig:
    """Return a job with the paths of its detectors' files on this machine, see :meth:`MaskKind.fetch`."""
    return config.with_detectors(lambda mask: _fetched(mask, config.storage))


def tried(config: JobConfig) -> JobConfig:
    """Return a job as :func:`fetched` does, on a machine that may lack the GPU of ``mask.device``."""
    return config.with_detectors(lambda mask: _tried(mask, config.storage))


def _tried(config: MaskConfig, storage_options: Mapping[str, Any]) -> MaskConfig:
    return _fetched(replace(config, device="cpu"), storage_options)


def _fetched(config: MaskConfig, storage_options: Mapping[str, Any]) -> MaskConfig:
    kind = open_kind(config)
    kind.check_installed()
    return kind.fetch(storage_options)


def open_masks(config: MaskConfig, storage: "Storage", source: "Storage") -> MaskKind:
    """Create the mask kind of a configuration on the driver, see :meth:`MaskKind.open`."""
    for part in config.also:
        open_kind(part).check_installed()
    masks = open_kind(config)
    masks.open(storage, source)
    return masks
