"""Finds shards that need not be opened: those whose samples all have valid rows, and those of other slices.

A sample's version ends with the number of samples in its shard (``… of 1000``), so the rows show whether all exist.
Shards of samples with corrected masks are always opened: only there a plan learns where such a sample is.
"""

from collections.abc import Iterable
from functools import partial

import pyarrow as pa

from pipeline.config.job import JobConfig
from pipeline.database import Database, in_batches
from pipeline.manifest.log import Manifest
from pipeline.planning.corrections import load_corrections
from pipeline.planning.slices import in_slice, slices_files
from pipeline.records import RESULT_FAULTS
from pipeline.sources.versions import COUNT_PATTERN
from pipeline.storage.storage import Storage, StoredFile

COLUMNS = [
    "sample_id",
    "input_uri",
    "input_version",
    "error_type",
    "weights_fingerprint",
    "config_fingerprint",
]
_SHARDS = pa.schema([("uri", pa.string()), ("size_bytes", pa.int64()), ("version", pa.string())])


class FinishedShards:
    """The finished shards of a source, and those of other slices.

    None are finished where samples may be reprocessed although their shard is unchanged: with masks elsewhere, or with
    failed or selected samples.

    Args:
        config: the job.
        weights_fingerprint: of its weights.
        manifest: of its sink.
        database: gets the tables ``rows`` and ``finished``.
    """

    def __init__(self, config: JobConfig, weights_fingerprint: str, manifest: Manifest, database: Database) -> None:
        self.database, self.source = database, Storage(config.source.uri, config.storage)
        self.slice = config.run.own_slice if slices_files(config.source) else None
        self._known: set[tuple[str, str]] = set()
        self._met: list[StoredFile] = []
        if (
            not config.source.rules.counts_samples
            or config.mask.rules.place.is_outside
            or config.run.retry_failed
            or config.run.select
        ):
            return
        manifest.load_into(database, COLUMNS)
        load_corrections(manifest.storage, database)
        database.run(
            _FINISHED,
            {
                "weights": weights_fingerprint,
                "settings": config.fingerprint,
                "needs_masks": config.mask.missing == "fail",
            },
        )
        self._known = set(database.run("SELECT uri, version FROM finished"))

    def without(self, shards: Iterable[StoredFile]) -> Iterable[StoredFile]:
        """Yield the shards that must be opened."""
        if self.slice is not None:
            shards = filter(partial(in_slice, self.slice), shards)
        if not self._known:
            return shards
        return (shard for shard in shards if not self._is_finished(shard))

    def _is_finished(self, shard: StoredFile) -> bool:
        if (self.source.uri(shard.key), shard.version) not in self._known:
            return False
        self._met.append(shard)
        return True

    def add_samples(self) -> None:
        """Add the samples of skipped shards to the table ``samples``, from their rows."""
        if not self._met:
            return
        shards = [(self.source.uri(shard.key), shard.size_bytes, shard.version) for shard in self._met]
        self.database.create("met", _SHARDS, in_batches(shards, _SHARDS))
        self.database.run(_ADD)


_FINISHED = f"""
CREATE TABLE finished AS SELECT
    input_uri AS uri,
    regexp_replace(input_version, {COUNT_PATTERN}, '') AS version,
    count(*) AS samples
FROM rows
WHERE weights_fingerprint = $weights AND config_fingerprint = $settings
AND coalesce(error_type NOT IN {RESULT_FAULTS}, true)
AND input_uri NOT IN (SELECT input_uri FROM rows JOIN corrections USING (sample_id) WHERE input_uri IS NOT NULL)
GROUP BY input_uri, input_version
HAVING ($needs_masks OR count(*) FILTER (error_type = 'MissingMask') = 0)
AND count(*) = try_cast(regexp_extract(input_version, {COUNT_PATTERN}, 1) AS BIGINT)"""

_ADD = f"""
INSERT INTO samples BY NAME SELECT
    rows.sample_id,
    rows.input_version,
    met.size_bytes // finished.samples AS size_bytes,
    if(rows.error_type = 'MissingMask', NULL, '') AS mask_key
FROM rows
JOIN met ON rows.input_uri = met.uri
JOIN finished ON finished.uri = met.uri AND finished.version = met.version
WHERE regexp_replace(rows.input_version, {COUNT_PATTERN}, '') = met.version"""
