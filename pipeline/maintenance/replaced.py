"""Deletes results that later rows have replaced, after these rows are committed.

Rows that later ones replace stay in the manifest until it is compacted, so they tell also after a crash which files to
look at.
"""

from collections.abc import Iterator
from functools import partial

from pipeline.database import Database
from pipeline.maintenance.vacuum import TIDY_URI
from pipeline.manifest.lease import Lease
from pipeline.manifest.log import Manifest
from pipeline.records import FAILED
from pipeline.storage.storage import Storage

COLUMNS = ["sample_id", "status", "error_stage", "error_type", "output_uri", "output_member"]
KEYS_AT_ONCE = 100_000
# Failures that say nothing about the content of a sample: its earlier result may still be the right one.
_STAGES = ("read", "write")
_TYPES = ("FileNotFound", "FileChanged", "PermissionDenied", "WorkerDied", "TimedOut")
_EXCEPTION = "%Error"  # exceptions of Python are named so, and of verdicts on a content none but this one:
_VERDICT = "EncoderError"


def delete_replaced(manifest: Manifest, lease: Lease) -> None:
    """Delete single files that only replaced rows name; shards lose such results in :mod:`pipeline.maintenance.repack`.

    Files elsewhere stay, since the sink was moved, and so does the result of a sample that now could not be read
    or stored.

    Args:
        manifest: before it is compacted.
        lease: of the caller, which has committed all its rows.

    Raises:
        ManifestConflictError, LeaseHeldError: another run has taken over; its rows may name the files.
    """
    manifest.check()  # a run that was suspended must not continue after another run has written
    with Database() as database:
        manifest.load_into(database, COLUMNS)
        keys = _unnamed(manifest.storage, database)
        first = next(keys, None)
        if first is None:
            return
        manifest.fence()  # a suspended run that has stored one of these files again can no longer commit its row
        delete = partial(_delete, manifest, lease)
        delete(first)
        for _ in manifest.storage.in_parallel(delete, keys):
            pass


def _delete(manifest: Manifest, lease: Lease, key: str) -> None:
    lease.check()
    manifest.check()
    manifest.storage.delete(key)


def _unnamed(sink: Storage, database: Database) -> Iterator[str]:
    """Yield keys of single files that only replaced rows name."""
    tidy = TIDY_URI if sink.is_local else "output_uri"
    parameters = {"root": f"{sink}/", "stages": _STAGES, "types": _TYPES, "exception": _EXCEPTION, "verdict": _VERDICT}
    for table in database.stream(_UNNAMED.format(uri=tidy), KEYS_AT_ONCE, parameters):
        yield from (sink.key(uri) for uri in table["uri"].to_pylist())


_UNNAMED = f"""
WITH earlier AS (
    SELECT DISTINCT {{uri}} AS uri FROM replaced
    WHERE output_member IS NULL AND starts_with(output_uri, $root) AND sample_id IN (
        SELECT sample_id FROM rows WHERE status <> '{FAILED}'
        OR NOT list_contains($stages, error_stage) AND NOT list_contains($types, error_type)
            AND (error_type NOT LIKE $exception OR error_type = $verdict)
    )
)
SELECT uri FROM earlier
WHERE NOT EXISTS (SELECT 1 FROM rows WHERE output_uri IS NOT NULL AND {{uri}} = earlier.uri)"""
