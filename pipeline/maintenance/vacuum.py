"""Finds and deletes unused files of a sink: results without a row, temporary files, and replaced parts."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain

import pyarrow as pa

from pipeline.database import Database, in_batches
from pipeline.errors import ConfigError
from pipeline.manifest.contents import FOLDER as MANIFEST_FOLDER
from pipeline.manifest.lease import Lease
from pipeline.manifest.log import Manifest
from pipeline.sinks.base import FOLDER
from pipeline.storage.errors import usable
from pipeline.storage.local import STAGING
from pipeline.storage.storage import Storage, StoredFile

RESULT, TEMPORARY, REPLACED = "result", "temporary", "replaced"
KEYS_AT_ONCE = 100_000
_FILES = pa.schema([("key", pa.string()), ("size_bytes", pa.int64()), ("version", pa.string())])


@dataclass(frozen=True)
class Orphan:
    """A file that can go.

    Args:
        kind: ``RESULT`` without a row, ``TEMPORARY``, or ``REPLACED`` part of the manifest.
        key: below the sink.
        size_bytes: its size.
    """

    kind: str
    key: str
    size_bytes: int


def find_orphans(sink: Storage, run_id: str) -> Iterator[Orphan]:
    """Find the files that :func:`delete_orphans` would delete.

    Raises:
        ConfigError: no sink, or one that is not where its rows say.
        LeaseHeldError: a run works on it, whose results have no rows yet.
    """
    check_is_sink(sink)
    Lease(sink, run_id).check_free()
    yield from _orphans(sink, Manifest(sink))


def delete_orphans(sink: Storage, run_id: str) -> Iterator[Orphan]:
    """Delete unused files while holding the sink, and yield them; raises as :func:`find_orphans` does.

    A run that sleeps, and has written results that it did not commit, meets a conflict when it wakes, rather than name
    in its rows what was deleted here.
    """
    check_is_sink(sink)
    with Lease(sink, run_id) as lease:
        manifest = Manifest(sink)
        orphans = _orphans(sink, manifest)
        if first := next(orphans, None):
            manifest.fence()
            yield from sink.in_parallel(partial(_delete, sink, lease), chain([first], orphans))
        manifest.compact()
        sink.clear_staging()


@usable()
def check_is_sink(sink: Storage) -> None:
    """Check that there is a manifest, before anything is written.

    Raises:
        ConfigError: there is none.
    """
    if not Manifest(sink).exists():
        raise ConfigError(f"{sink} holds no manifest, so wanted results are unknown; is it the sink.uri of a job?")


def check_rows_are_of(sink: Storage, database: Database) -> None:
    """Check that the table ``rows`` names results of this sink, before anything is deleted by it.

    Raises:
        ConfigError: they name results elsewhere, as those of a copied sink do.
    """
    query = "SELECT output_uri FROM rows WHERE NOT starts_with(output_uri, $root) LIMIT 1"
    if elsewhere := database.run(query, {"root": f"{sink}/"}):
        raise ConfigError(
            f"rows of {sink} name results elsewhere, such as {elsewhere[0][0]}: the sink was copied, moved or "
            "renamed; nothing was deleted. Use the uri that the rows have"
        )


def _delete(sink: Storage, lease: Lease, orphan: Orphan) -> Orphan:
    lease.check()  # a run that has taken over may have made it a result
    sink.delete(orphan.key)
    return orphan


def _orphans(sink: Storage, manifest: Manifest) -> Iterator[Orphan]:
    with Database() as database:
        manifest.load_into(database, ["sample_id", "output_uri"])
        check_rows_are_of(sink, database)
        replaced = set(manifest.stale)
        load_results(sink, database)
        yield from unnamed_results(sink, database)
    yield from (Orphan(TEMPORARY, file.key, file.size_bytes) for file in _staged(sink))
    parts = (file for file in sink.list_files(MANIFEST_FOLDER) if file.key in replaced)
    yield from (Orphan(REPLACED, file.key, file.size_bytes) for file in parts)


def load_results(sink: Storage, database: Database) -> None:
    """Create the table ``files`` of the files in ``data/``, with key, size and version."""
    database.create("files", _FILES, in_batches(sink.list_files(FOLDER), _FILES))


def unnamed_results(sink: Storage, database: Database) -> Iterator[Orphan]:
    """Yield the files of the table ``files`` that no row names, in order of their keys."""
    unnamed = _UNNAMED.format(uri=matching_uri(sink))
    for table in database.stream(unnamed, KEYS_AT_ONCE, {"root": f"{sink}/"}):
        for row in table.to_pylist():
            if _is_own(sink, row["key"]):
                yield Orphan(RESULT, row["key"], row["size_bytes"])


def matching_uri(sink: Storage) -> str:
    """Return the SQL expression that compares ``output_uri`` of a row with names of files."""
    return TIDY_URI if sink.is_local else "output_uri"


def _staged(sink: Storage) -> Iterator[StoredFile]:
    return sink.list_files(STAGING) if sink.is_local else iter(())


def _is_own(sink: Storage, key: str) -> bool:
    """Return whether a file is in the sink itself, not behind a link, and has a valid name of a result."""
    try:
        path = sink.path(key)
    except ValueError:
        return False
    if not sink.is_local:
        return True
    folder = os.path.realpath(sink.path(FOLDER))
    return os.path.realpath(path) == os.path.join(folder, os.path.relpath(key, FOLDER))


# A uri is the sink's own and the key.
_UNNAMED = """
SELECT key, size_bytes FROM files
WHERE NOT EXISTS (SELECT 1 FROM rows WHERE {uri} = concat($root, files.key))
ORDER BY key"""

# To a disk a/./b and a//b, as members of shards and objects may be called, are a/b.
TIDY_URI = r"regexp_replace(output_uri, '/(\.?/)+', '/', 'g')"
