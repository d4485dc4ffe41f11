"""Puts corrected masks of reviews in the place of the samples' own masks.

A corrected mask was drawn on one photo. It counts as long as the file of that photo stays as it was, and until a later
review brings another; a new version of the photo has its own mask again.
"""

import logging

from pipeline.database import Database
from pipeline.sources.versions import before_mask_sql, file_version_sql, with_mask_sql
from pipeline.storage.storage import Storage
from pipeline.verdicts.current import LATEST
from pipeline.verdicts.files import load_reviews

VERSION = "'review-' || left(corrected_sha256, 32)"  # SQL: of a corrected mask in ``input_version``

logger = logging.getLogger(__name__)


def load_corrections(sink: Storage, database: Database) -> int:
    """Create the table ``corrections``: the latest corrected mask of each sample; return their number."""
    load_reviews(sink, database)
    database.run(_LATEST)
    ((count,),) = database.run("SELECT count(*) FROM corrections")
    return int(count)


def use_corrected_masks(sink: Storage, database: Database) -> None:
    """Point the table ``samples`` to corrected masks; a sample whose mask is corrected anew becomes a changed one."""
    database.run("ALTER TABLE samples ADD COLUMN mask_review VARCHAR")
    if load_corrections(sink, database):
        database.run(_USE)
        ((outdated, example),) = database.run(_OUTDATED)
        if outdated:
            logger.warning(
                "%d corrected masks are of photos that have changed since, such as %s: not used", outdated, example
            )
    database.drop("corrections", "reviews")


_LATEST = f"""
CREATE OR REPLACE TABLE corrections AS
SELECT sample_id, key, file_version, corrected_bytes, {VERSION} AS mask_version
FROM reviews WHERE corrected_sha256 IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY sample_id ORDER BY {LATEST}) = 1"""

# The size of the image itself, by which its file is read, stays the difference of the two sizes.
_USE = f"""
UPDATE samples SET
    mask_review = corrections.key,
    mask_key = coalesce(samples.mask_key, ''),
    size_bytes = samples.size_bytes - coalesce(samples.mask_bytes, 0) + corrections.corrected_bytes,
    mask_bytes = corrections.corrected_bytes,
    input_version = {with_mask_sql(before_mask_sql("samples.input_version"), "corrections.mask_version")},
    fault = if(regexp_matches(samples.fault, '^(Ambiguous|Missing)Mask'), NULL, samples.fault)
FROM corrections
WHERE samples.sample_id = corrections.sample_id
AND {file_version_sql("samples.input_version")} = corrections.file_version"""

_OUTDATED = """
SELECT count(*), min(sample_id) FROM samples JOIN corrections USING (sample_id) WHERE samples.mask_review IS NULL"""
