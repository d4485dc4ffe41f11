"""Deletion of samples on request: result, reviews and row, and a note that keeps them from coming back."""

from collections.abc import Sequence

from pipeline import report
from pipeline.codecs.identification.kinds import IMAGE_EXTENSIONS
from pipeline.database import Database
from pipeline.errors import ConfigError
from pipeline.maintenance.repack import repack
from pipeline.maintenance.replaced import delete_replaced
from pipeline.maintenance.vacuum import check_is_sink, check_rows_are_of
from pipeline.manifest.lease import Lease
from pipeline.manifest.log import Manifest
from pipeline.manifest.tombstones import name_hash, note_forgotten, read_forgotten
from pipeline.sinks.base import FOLDER
from pipeline.sources.base import result_name
from pipeline.storage.storage import Storage
from pipeline.verdicts.files import erase


def forget(sink: Storage, sample_ids: Sequence[str], run_id: str) -> int:
    """Remove samples from a sink permanently; running it again after a crash resumes it.

    The note comes first, so that no later run does them again; then reviews, report and single results go, then the
    rows, then shards are written anew without them.

    Args:
        sink: where the results are.
        sample_ids: as in the manifest.
        run_id: to hold the sink by.

    Returns:
        Number of removed rows.

    Raises:
        ConfigError: a sample that no row names, or a sink that is not where its rows say.
        LeaseHeldError, ManifestConflictError: a run works on the sink.
    """
    check_is_sink(sink)
    with Lease(sink, run_id) as lease:
        manifest = Manifest(sink)
        with Database() as database:
            manifest.load_into(database, ["sample_id", "output_uri", "output_member"])
            check_rows_are_of(sink, database)
            query = "SELECT sample_id FROM rows WHERE list_contains($ids, sample_id)"
            names = [name for (name,) in database.run(query, {"ids": list(sample_ids)})]
            results = _single_results(sink, database, names)
            has_shards = bool(database.run("SELECT 1 FROM rows WHERE output_member IS NOT NULL LIMIT 1"))
        _refuse_unknown(sink, set(sample_ids) - set(names))
        note_forgotten(sink, names)
        delete_replaced(manifest, lease)  # what a killed run has left, while there are rows that name it
        erase(sink, sample_ids)
        sink.delete(report.KEY)  # it may show what is to be forgotten, and can be made again
        for key in results:
            sink.delete(key)
        if names:
            manifest.remove(names)
        if has_shards or not names:  # after a crash their rows may be gone, and their shard still there
            repack(manifest, sink, lease)
        manifest.compact()
        sink.clear_staging()
    return len(names)


def _single_results(sink: Storage, database: Database, names: Sequence[str]) -> list[str]:
    """Keys of files that may hold results of samples and that no row of another sample names.

    A failed sample may have kept an earlier result (:mod:`pipeline.maintenance.replaced`), which no row names any more.
    """
    uris = [sink.uri(f"{FOLDER}/{result_name(name)}{suffix}") for name in names for suffix in ("", *IMAGE_EXTENSIONS)]
    found = database.run(_RESULTS, {"ids": names, "uris": uris})
    return [sink.key(uri) for (uri,) in found]


def _refuse_unknown(sink: Storage, names: set[str]) -> None:
    known = read_forgotten(sink)
    unknown = sorted(name for name in names if name_hash(name) not in known)
    if unknown:
        raise ConfigError(
            f"no row of {sink} is called {', '.join(map(repr, unknown))}; nothing was removed. A sample_id is the path "
            "below source.uri, see docs/reference/manifest.md"
        )


_RESULTS = """
SELECT DISTINCT uri FROM (
    SELECT output_uri AS uri FROM rows WHERE list_contains($ids, sample_id) AND output_member IS NULL
    UNION ALL SELECT unnest($uris::VARCHAR[])
)
WHERE uri IS NOT NULL AND uri NOT IN (
    SELECT output_uri FROM rows WHERE output_uri IS NOT NULL AND NOT list_contains($ids, sample_id)
)"""
