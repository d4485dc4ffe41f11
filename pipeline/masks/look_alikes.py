"""Pairs names that differ only in Unicode normalization: Linux composes ``é``, macOS decomposes it.

Only names without an exact partner are considered. Ambiguous names are not paired.
"""

from pipeline.database import Database
from pipeline.sources.versions import with_mask_sql

_FOREIGN = "strlen({0}) <> length({0})"  # more bytes than characters: not ASCII alone


def pair_mask_files(database: Database, image_name: str, mask_name: str) -> None:
    """Pair samples without a mask with the only unpaired mask of an equal normalized name; several are a fault.

    Args:
        database: with the tables ``samples``, ``images`` and ``masks``; the first is changed.
        image_name: SQL of the name that an image expects of its mask, over a row of ``images``.
        mask_name: SQL of a mask's name, over a row of ``masks``.
    """
    if not database.run(_LONELY.format(foreign=_FOREIGN.format(image_name))):
        return
    names = {"image_name": image_name, "mask_name": mask_name}
    foreign = {"image_foreign": _FOREIGN.format(image_name), "mask_foreign": _FOREIGN.format(mask_name)}
    database.run(_LOOK_ALIKES.format(**names, **foreign))
    database.run(_TAKE)
    database.run(_REFUSE)


def pair_annotations(database: Database) -> None:
    """Rename annotations whose normalized name matches exactly one image.

    Args:
        database: with the tables ``images`` and ``specs``; the latter is changed.
    """
    if database.run(f"SELECT 1 FROM specs WHERE {_FOREIGN.format('key')} LIMIT 1"):
        database.run(_RENAME)


_LONELY = """
SELECT 1 FROM samples JOIN images USING (sample_id)
WHERE mask_key IS NULL AND samples.fault IS NULL AND {foreign} LIMIT 1"""

# The number of pairs is images × masks of a name: 1 if it is unambiguous.
_LOOK_ALIKES = """
CREATE OR REPLACE TABLE look_alikes AS
WITH lonely AS (
    SELECT sample_id, nfc_normalize({image_name}) AS name FROM samples JOIN images USING (sample_id)
    WHERE mask_key IS NULL AND samples.fault IS NULL AND {image_foreign}
), spare AS (
    SELECT *, nfc_normalize({mask_name}) AS name FROM masks
    WHERE {mask_foreign} AND key NOT IN (SELECT mask_key FROM samples WHERE mask_key IS NOT NULL)
)
SELECT sample_id, key, size_bytes, version, count(*) OVER (PARTITION BY name) AS pairs
FROM lonely JOIN spare USING (name)"""

_TAKE = f"""
UPDATE samples SET
    mask_key = mask.key,
    mask_bytes = mask.size_bytes,
    size_bytes = samples.size_bytes + mask.size_bytes,
    input_version = {with_mask_sql("samples.input_version", "mask.version")}
FROM look_alikes mask WHERE mask.sample_id = samples.sample_id AND pairs = 1"""

_REFUSE = """
UPDATE samples SET fault = concat(
    'AmbiguousMask: several images or masks have names that look the same in other forms of Unicode, such as ', mask.key
)
FROM (SELECT sample_id, min(key) AS key FROM look_alikes WHERE pairs > 1 GROUP BY sample_id) mask
WHERE mask.sample_id = samples.sample_id"""

_RENAME = f"""
UPDATE specs SET key = alike.sample_id
FROM (
    SELECT sample_id, spare.key, count(*) OVER (PARTITION BY name) AS pairs
    FROM (
        SELECT sample_id, nfc_normalize(sample_id) AS name FROM images
        WHERE {_FOREIGN.format("sample_id")} AND sample_id NOT IN (SELECT key FROM specs)
    ) JOIN (
        SELECT DISTINCT key, nfc_normalize(key) AS name FROM specs
        WHERE {_FOREIGN.format("key")} AND key NOT IN (SELECT sample_id FROM images)
    ) spare USING (name)
) alike
WHERE alike.key = specs.key AND pairs = 1"""
