"""``paired``: one mask file for each image."""

import posixpath
import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from pipeline.codecs.identification.kinds import HIDDEN_PATH, IMAGE_EXTENSIONS, has_extension, split_extension
from pipeline.config.mask import MaskConfig
from pipeline.config.rules import MaskPlace
from pipeline.config.template import NUMBER
from pipeline.errors import ConfigError
from pipeline.masks.base import LOCATIONS
from pipeline.masks.kinds.column import check_table
from pipeline.masks.pictures import PictureMasks

if TYPE_CHECKING:
    from pipeline.database import Database
    from pipeline.storage.storage import Storage

SPARE_MASKS = "masks without an image"
MAX_COMPARED = 1_000_000  # names of masks, for an example


class PairedMasks(PictureMasks):
    """One mask file for each image: by template, same path or same stem; in a list also by a column."""

    indifferent: tuple[str, ...] = (*LOCATIONS, "column")
    extensions: Collection[str] = IMAGE_EXTENSIONS
    preferred = ".png"  # of several masks that have the stem of an image

    def __init__(self, config: MaskConfig) -> None:
        super().__init__(config)
        self.place = MaskPlace(is_file=True, path_column=config.column or "")
        self.template = config.template
        self._is_numbered = "{n}" in (config.template or "")
        self.name_of = self._by_template if self.template else None  # else the image's own path comes first

    def check(self, source_format: str) -> None:
        """See :class:`pipeline.masks.base.MaskKind`."""
        if self.config.column:
            check_table(source_format, ("list",))
        if source_format == "list" and self._is_numbered:
            raise ConfigError(
                "mask.template with {n} has no meaning for source.format=list, where no mask is looked for: name "
                "several masks by mask.column, a column of lists"
            )
        if self.config.column and self.template:
            raise ConfigError("mask.column and mask.template exclude each other: masks are named by one of them")

    def open(self, storage: "Storage", source: "Storage") -> None:
        """See :class:`pipeline.masks.base.MaskKind`."""
        super().open(storage, source)
        if self.place.path_column:
            return
        if not storage.exists():
            raise ConfigError(f"mask.uri: nothing at {storage}")
        self.among_images = self.extensions == IMAGE_EXTENSIONS and str(storage) == str(source)
        if self.among_images and self.template is None:
            raise ConfigError(
                "masks among the images need a name of their own: set mask.template, e.g. {dir}{stem}_mask.png"
            )

    def _by_template(self, sample_id: str) -> str:
        folder, name = posixpath.split(sample_id)
        stem, extension = split_extension(name)
        assert self.template is not None  # else nobody asks
        top, number = f"{folder}/" if folder else "", NUMBER
        return self.template.format(path=sample_id, dir=top, stem=stem, ext=extension, n=number)

    def pair(self, database: "Database") -> None:
        """Create the table ``samples`` from ``images`` and the mask files."""
        from pipeline.database import in_batches
        from pipeline.masks.look_alikes import pair_mask_files
        from pipeline.masks.numbered import leave_out_masks, pair_numbered
        from pipeline.masks.pairing import MASK_FILES, samples_sql

        files = (file for file in self.storage.list_files() if self.is_mask(file.key))
        if self._is_numbered:
            visible = (file for file in files if not re.search(HIDDEN_PATH, file.key, re.IGNORECASE))
            self._spare = pair_numbered(database, visible)
            if self.among_images:
                leave_out_masks(database)
            return
        database.create("masks", MASK_FILES, in_batches(files, MASK_FILES))
        mask_stem = _stem("key", self.extensions)
        by_stem = _BY_PATH_OR_STEM.format(mask_stem=mask_stem, preferred=self.preferred)
        database.run(samples_sql(_BY_PATH if self.template else by_stem))
        pair_mask_files(database, "images.wanted" if self.template else "images.sample_id", "key")
        if not self.template:
            pair_mask_files(database, _stem("images.sample_id", IMAGE_EXTENSIONS), mask_stem)
        if self.among_images:  # whatever is the mask of another image is no image
            database.run(
                "DELETE FROM samples WHERE sample_id IN (SELECT mask_key FROM samples WHERE mask_key <> sample_id)"
            )

    def is_mask(self, key: str) -> bool:
        """Return whether a file below ``mask.uri`` may be a mask, by its name."""
        return has_extension(key, self.extensions) and key[key.rfind("/") + 1] != "."

    def pair_listed(self, database: "Database") -> None:
        """Create the table ``samples`` from ``images``, whose masks are named by a column, a template or their path."""
        from pipeline.masks.pairing import pair_listed

        pair_listed(database, "wanted" if self.place.path_column or self.template else "sample_id")

    def find_miss(self, database: "Database") -> str | None:
        """See :class:`pipeline.masks.base.MaskKind`; the mask with the most similar name is probably meant."""
        found = database.run(_MISS)
        if not found or not database.run(_HAS_MASKS):
            return None
        ((sample_id,),) = found
        ((wanted,),) = database.run("SELECT wanted FROM images WHERE sample_id = $name LIMIT 1", {"name": sample_id})
        looked_for = f"{wanted or split_extension(sample_id)[0] + '.*'} of {sample_id}"
        if self._is_numbered:  # masks of no image are not in the table
            return f"such as {looked_for.replace(NUMBER, '{n}')}"
        nearest = database.run(_NEAREST, {"name": wanted or sample_id})
        if not nearest:
            return f"such as {looked_for}; there is no mask file in {self.storage}"
        return f"such as {looked_for}; the most similar name in {self.storage} is {nearest[0][0]}"

    def count_spare(self, database: "Database") -> dict[str, int]:
        """Count mask files without a sample, except hidden ones."""
        if self._is_numbered:  # those without an image are not in the table
            spare = self._spare
        else:
            ((spare,),) = database.run(_SPARE, {"hidden": HIDDEN_PATH})
        return {SPARE_MASKS: spare} if spare else {}


_MISS = "SELECT sample_id FROM samples WHERE mask_key IS NULL AND fault IS NULL ORDER BY sample_id LIMIT 1"
_HAS_MASKS = "SELECT 1 FROM duckdb_tables() WHERE table_name = 'masks'"  # not over a list
_NEAREST = f"""
SELECT key FROM (FROM masks LIMIT {MAX_COMPARED}) ORDER BY jaro_winkler_similarity(key, $name) DESC, key LIMIT 1"""

_SPARE = """
SELECT count(*) FROM masks ANTI JOIN samples ON masks.key = samples.mask_key
WHERE NOT regexp_matches(masks.key, $hidden, 'i')"""

_BY_PATH = "images LEFT JOIN masks mask ON mask.key = images.wanted"


def _stem(name: str, extensions: Collection[str]) -> str:
    """Return SQL of a name without its extension, if that is one of some."""
    return f"regexp_replace({name}, '\\.({'|'.join(sorted(extension[1:] for extension in extensions))})$', '', 'i')"


# Several masks may have the image's stem: prefer the same path, then the preferred extension, then the first by name.
_BY_PATH_OR_STEM = f"""(
        SELECT images.*, coalesce(same.key, substr(alike.ranked, 2)) AS mask_key
        FROM (SELECT *, {_stem("sample_id", IMAGE_EXTENSIONS)} AS stem FROM images) images
        LEFT JOIN masks same ON same.key = images.sample_id
        LEFT JOIN (
            SELECT {{mask_stem}} AS stem,
                min(if(ends_with(lower(key), '{{preferred}}'), '0', '1') || key) AS ranked
            FROM masks GROUP BY ALL
        ) alike ON alike.stem = images.stem
    ) images LEFT JOIN masks mask ON mask.key = images.mask_key"""
