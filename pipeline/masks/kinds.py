"""Pairs images with masks, by kind of mask."""

import logging
import posixpath
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType

import pyarrow as pa

from pipeline.codecs.kinds import HIDDEN_PATH, IMAGE_EXTENSIONS, is_image, split_extension
from pipeline.config.job import MaskConfig
from pipeline.database import Database, in_batches
from pipeline.errors import ConfigError
from pipeline.masks.annotations import read_annotations
from pipeline.masks.look_alikes import pair_annotations, pair_mask_files
from pipeline.masks.text import check_installed
from pipeline.sources.base import SAMPLE_REF_SCHEMA
from pipeline.sources.versions import with_mask_sql
from pipeline.storage.storage import Storage

MASK_FILES = pa.schema([("key", pa.string()), ("size_bytes", pa.int64()), ("version", pa.string())])
SPECS = pa.schema([("key", pa.string()), ("spec", pa.string())])
IMAGES = SAMPLE_REF_SCHEMA.append(pa.field("wanted", pa.string()))
SPECS_AT_ONCE = 2000  # one may be long
SPARE_MASKS = "masks without an image"

logger = logging.getLogger(__name__)


class _Kind:
    """Defaults of mask kinds.

    Args:
        name_of: returns the name of a sample's mask, if masks have names of their own.
        left_out: counts of unpaired masks, by kind, after pairing.
    """

    name_of: Callable[[str], str] | None = None
    left_out: Mapping[str, int] = MappingProxyType({})


class PairedMasks(_Kind):
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
        self.name_of = self._by_template if self.template else None  # else the image's own path comes first

    def _by_template(self, sample_id: str) -> str:
        folder, name = posixpath.split(sample_id)
        stem, extension = split_extension(name)
        assert self.template is not None  # else nobody asks
        return self.template.format(path=sample_id, dir=f"{folder}/" if folder else "", stem=stem, ext=extension)

    def pair(self, database: Database) -> None:
        """Create the table ``samples`` from ``images`` and the mask files."""
        files = (file for file in self.storage.list_files() if is_image(file.key))
        database.create("masks", MASK_FILES, in_batches(files, MASK_FILES))
        database.run(_PAIR_BY_PATH if self.template else _PAIR_BY_PATH_OR_STEM)
        pair_mask_files(database, "images.wanted" if self.template else "images.sample_id", "key")
        if not self.template:
            pair_mask_files(database, _STEM.format("images.sample_id"), _STEM.format("key"))
        if self.among_images:  # whatever is the mask of another image is no image
            database.run(
                "DELETE FROM samples WHERE sample_id IN (SELECT mask_key FROM samples WHERE mask_key <> sample_id)"
            )

    @staticmethod
    def count_spare(database: Database) -> dict[str, int]:
        """Count mask files without a sample, by kind as ``left_out``, except hidden ones."""
        ((spare,),) = database.run(_SPARE, {"hidden": HIDDEN_PATH})
        return {SPARE_MASKS: spare} if spare else {}


class StaticMask(_Kind):
    """One mask file for all images of its size."""

    def __init__(self, config: MaskConfig, storage: Storage, source: Storage) -> None:
        if not storage.is_file():
            raise ConfigError(f"mask.uri must be one file for mask.kind=static, found none at {storage}")
        self.storage = storage

    def pair(self, database: Database) -> None:
        """Create the table ``samples`` from ``images`` and the one mask, whose key below its own uri is empty."""
        database.create("masks", MASK_FILES, in_batches([self.storage.stat()], MASK_FILES))
        database.run(_SAMPLES.format(pairs="images, masks mask"))


class InnerMask(_Kind):
    """Masks inside the source: alpha channel, detected text, tar member, or column."""

    def __init__(self, config: MaskConfig, storage: Storage, source: Storage) -> None:
        if config.kind == "text":
            check_installed()
        self.kind, self.storage = config.kind, storage

    def pair(self, database: Database) -> None:
        """Create the table ``samples`` from ``images`` only; every image may have an alpha channel, or text."""
        mask_key = "''" if self.kind in ("alpha", "text") else "if(has_mask, '', NULL)"
        database.run(
            f"CREATE TABLE samples AS SELECT sample_id, version AS input_version, size_bytes, file, locator, "
            f"{mask_key} AS mask_key, NULL::BIGINT AS mask_bytes, NULL::VARCHAR AS mask_spec, fault FROM images"
        )


class AnnotatedMasks(_Kind):
    """Boxes or COCO annotations in one file, keyed by the image's path below the source."""

    def __init__(self, config: MaskConfig, storage: Storage, source: Storage) -> None:
        if not storage.is_file():
            raise ConfigError(f"mask.uri must be one file for mask.kind={config.kind}, found none at {storage}")
        self.config, self.storage = config, storage
        self.left_out: Counter[str] = Counter()

    def pair(self, database: Database) -> None:
        """Create the table ``samples`` from ``images`` and their annotations, of which one image may have several.

        Raises:
            ConfigError: the file cannot be read, or none of its names is that of an image.
        """
        specs = read_annotations(self.config, self.storage, self.left_out)
        database.create("specs", SPECS, in_batches(specs, SPECS, SPECS_AT_ONCE))
        database.run(_PLAIN_NAMES)
        pair_annotations(database)
        database.run(_PAIR_BY_NAME)
        ((named, unmatched, example),) = database.run(_UNMATCHED)
        if unmatched == named:
            raise ConfigError(
                f"{self.storage} annotates none of the images; it names {example or 'nothing'!r}, where a path below "
                "source.uri is due"
            )
        if unmatched:
            self.left_out["names without an image"] = unmatched
            logger.warning(
                "%s: %d of %d names match no image, such as %r; they must be paths below source.uri",
                self.storage,
                unmatched,
                named,
                example,
            )


# A changed or new mask makes the sample a changed one.
_SAMPLES = f"""
CREATE TABLE samples AS SELECT
    images.sample_id,
    {with_mask_sql("images.version", "mask.version")} AS input_version,
    images.size_bytes + coalesce(mask.size_bytes, 0) AS size_bytes,
    images.file,
    images.locator,
    mask.key AS mask_key,
    mask.size_bytes AS mask_bytes,
    NULL::VARCHAR AS mask_spec,
    images.fault
FROM {{pairs}}"""

_SPARE = """
SELECT count(*) FROM masks ANTI JOIN samples ON masks.key = samples.mask_key
WHERE NOT regexp_matches(masks.key, $hidden, 'i')"""

_PAIR_BY_PATH = _SAMPLES.format(pairs="images LEFT JOIN masks mask ON mask.key = images.wanted")

_STEM = f"regexp_replace({{}}, '\\.({'|'.join(sorted(name[1:] for name in IMAGE_EXTENSIONS))})$', '', 'i')"

# Several masks may have the image's stem: prefer the same path, then a .png, then the first by name.
_PAIR_BY_PATH_OR_STEM = _SAMPLES.format(
    pairs=f"""(
        SELECT images.*, coalesce(same.key, substr(alike.ranked, 2)) AS mask_key
        FROM (SELECT *, {_STEM.format("sample_id")} AS stem FROM images) images
        LEFT JOIN masks same ON same.key = images.sample_id
        LEFT JOIN (
            SELECT {_STEM.format("key")} AS stem,
                min(if(ends_with(lower(key), '.png'), '0', '1') || key) AS ranked
            FROM masks GROUP BY ALL
        ) alike ON alike.stem = images.stem
    ) images LEFT JOIN masks mask ON mask.key = images.mask_key"""
)

_PAIR_BY_NAME = f"""
CREATE TABLE samples AS
WITH repeated AS (SELECT key FROM specs GROUP BY key HAVING count(*) > 1)
SELECT
    images.sample_id,
    {with_mask_sql("images.version", "md5(specs.spec)")} AS input_version,
    images.size_bytes,
    images.file,
    images.locator,
    if(specs.spec IS NULL, NULL, '') AS mask_key,
    NULL::BIGINT AS mask_bytes,
    specs.spec AS mask_spec,
    images.fault
FROM images LEFT JOIN (
    SELECT key, '[' || spec || ']' AS spec FROM specs WHERE key NOT IN (FROM repeated)
    UNION ALL
    SELECT key, '[' || string_agg(spec, ',' ORDER BY spec) || ']' AS spec FROM specs WHERE key IN (FROM repeated)
    GROUP BY key
) specs ON specs.key = images.sample_id"""

# Normalized as by :func:`pipeline.masks.annotations.plain_name`, unless an image has exactly this name.
_PLAIN_NAMES = r"""
UPDATE specs SET key = regexp_replace(replace(key, '\', '/'), '^(\./+)+', '')
WHERE (contains(key, '\') OR starts_with(key, './')) AND key NOT IN (SELECT sample_id FROM images)"""

_UNMATCHED = """
SELECT count(*), count(*) FILTER (sample_id IS NULL), min(key) FILTER (sample_id IS NULL)
FROM (SELECT DISTINCT key FROM specs) LEFT JOIN images ON images.sample_id = key"""

_MASKS: dict[str, type[PairedMasks] | type[StaticMask] | type[InnerMask] | type[AnnotatedMasks]] = {
    "paired": PairedMasks,
    "static": StaticMask,
    "alpha": InnerMask,
    "member": InnerMask,
    "column": InnerMask,
    "boxes": AnnotatedMasks,
    "coco": AnnotatedMasks,
    "text": InnerMask,
}
Masks = PairedMasks | StaticMask | InnerMask | AnnotatedMasks


def open_masks(config: MaskConfig, storage: Storage, source: Storage) -> Masks:
    """Create the pairing of a mask kind."""
    kind = InnerMask if config.kind == "boxes" and config.column else _MASKS[config.kind]
    return kind(config, storage, source)
