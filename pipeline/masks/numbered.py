"""Pairs an image with any number of mask files whose names differ by a number: ``cat_0.png``, ``cat_1.png``."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

import pyarrow as pa

from pipeline.config.template import NUMBER
from pipeline.database import Database, in_batches
from pipeline.masks.pairing import samples_sql
from pipeline.storage.storage import StoredFile

_DIGITS = re.compile(r"[0-9]+")
_FILES = pa.schema([("name", pa.string()), ("key", pa.string()), ("size_bytes", pa.int64()), ("version", pa.string())])


def pair_numbered(database: Database, files: Iterable[StoredFile]) -> int:
    """Create the tables ``masks`` and ``samples``: all files that have an image's wanted name, but for the number.

    Args:
        database: with the table ``images``, whose wanted names hold ``NUMBER``.
        files: that may be masks.

    Returns:
        Number of files that are the mask of no image.
    """
    listed: Counter[str] = Counter()

    def rows() -> Iterator[tuple]:
        for file in files:
            listed["files"] += 1
            yield from ((name, *file) for name in _names(file.key))

    database.create("masks", _FILES, in_batches(rows(), _FILES), "FROM incoming SEMI JOIN images ON wanted = name")
    database.run(samples_sql(_PAIRS, "mask.spec"))
    ((paired,),) = database.run("SELECT count(DISTINCT key) FROM masks")
    return listed.total() - int(paired)


def leave_out_masks(database: Database) -> None:
    """Delete samples that are the mask of another image."""
    database.run("DELETE FROM samples WHERE sample_id IN (SELECT key FROM masks)")


def _names(key: str) -> Iterator[str]:
    """Yield a name once for each number in it, with the number replaced."""
    for digits in _DIGITS.finditer(key):
        yield f"{key[: digits.start()]}{NUMBER}{key[digits.end() :]}"


_PAIRS = """images LEFT JOIN (
    SELECT
        name,
        min(key) AS key,
        sum(size_bytes)::BIGINT AS size_bytes,
        md5(string_agg(concat(key, chr(0), version), chr(0) ORDER BY key)) AS version,
        to_json(list({'key': key, 'version': version, 'size_bytes': size_bytes} ORDER BY key))::VARCHAR AS spec
    FROM masks GROUP BY name
) mask ON mask.name = images.wanted"""
