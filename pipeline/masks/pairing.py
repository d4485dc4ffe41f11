"""Tables and SQL that pair images with masks, shared by mask kinds."""

import pyarrow as pa

from pipeline.database import Database
from pipeline.sources.versions import UNCHECKED, with_mask_sql

MASK_FILES = pa.schema([("key", pa.string()), ("size_bytes", pa.int64()), ("version", pa.string())])


def pair_inside(database: Database, mask_key: str) -> None:
    """Create the table ``samples`` from ``images`` only, for masks inside the source.

    Args:
        database: with the table ``images``.
        mask_key: SQL over a row of it; null where the sample has no mask.
    """
    database.run(
        f"CREATE TABLE samples AS SELECT sample_id, {with_mask_sql('version', 'md5(mask_spec)')} AS input_version, "
        f"size_bytes, file, locator, {mask_key} AS mask_key, NULL::BIGINT AS mask_bytes, mask_spec, fault, carried "
        "FROM images"
    )


def pair_listed(database: Database, mask_key: str) -> None:
    """Create the table ``samples`` from ``images`` only, for mask files that nobody has listed.

    Args:
        database: with the table ``images``.
        mask_key: SQL over a row of it, the name of its mask; null where it has none.
    """
    several = f"'{UNCHECKED}' || md5(mask_spec)"  # their names; no list states the versions of several files
    version = f"CASE WHEN {mask_key} IS NOT NULL THEN coalesce({several}, mask_version, '') END"
    database.run(
        f"CREATE TABLE samples AS SELECT sample_id, {with_mask_sql('version', version)} AS input_version, "
        f"size_bytes + coalesce(mask_bytes, 0) AS size_bytes, file, locator, {mask_key} AS mask_key, mask_bytes, "
        "mask_spec, fault, carried FROM images"
    )


def samples_sql(pairs: str, spec: str = "NULL::VARCHAR") -> str:
    """Return SQL that creates the table ``samples``; a changed or new mask makes the sample a changed one.

    Args:
        pairs: SQL of rows of ``images`` joined with rows of ``masks``, called ``mask``.
        spec: SQL of the list of an image's masks, where it may have several.
    """
    return f"""
CREATE TABLE samples AS SELECT
    images.sample_id,
    {with_mask_sql("images.version", "mask.version")} AS input_version,
    images.size_bytes + coalesce(mask.size_bytes, 0) AS size_bytes,
    images.file,
    images.locator,
    mask.key AS mask_key,
    mask.size_bytes AS mask_bytes,
    {spec} AS mask_spec,
    images.fault,
    images.carried
FROM {pairs}"""
