"""Plans a job: compares the samples of the source with the rows of the manifest."""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.config.job import JobConfig
from pipeline.database import Database
from pipeline.errors import ConfigError
from pipeline.manifest.log import Manifest
from pipeline.manifest.tombstones import leave_out_forgotten
from pipeline.planning.mix import refuse_mix
from pipeline.planning.reasons import add_reasons
from pipeline.planning.select_expression import named_columns, select_rows
from pipeline.planning.slices import leave_out_other_slices
from pipeline.records import OK, SAMPLE_SCHEMA
from pipeline.sources.inputs import Sample
from pipeline.sources.versions import IS_UNKNOWN
from pipeline.storage.errors import usable
from pipeline.verdicts.current import add_review_columns, names_reviews

PLAN_COLUMNS = [
    "sample_id",
    "status",
    "error_type",
    "input_version",
    "output_uri",
    "output_member",
    "weights_fingerprint",
    "config_fingerprint",
]
WITHOUT_VERSION = "the list states no version of image or mask, so that a later change of that file is not noticed"
CHUNK_SAMPLES, CHUNK_CARRIED_BYTES = 1_000_000, 1 << 30  # held in memory at once

logger = logging.getLogger(__name__)


@dataclass
class Plan:
    """The samples found, those to process and why; all of the run's slice, if it has one.

    Args:
        database: holds the tables.
        found: number of samples in the source.
        found_bytes: their total size.
        without_mask: samples found that have no mask file.
        without_version: samples found of whose file or mask no change can be noticed.
        faults: samples to process that the listing already shows as unreadable, by type.
        forgotten: samples found that were deleted on request and are skipped.
        gone: rows whose sample is no longer in the source; they are kept.
        gone_statuses: number of them by status.
        todo: number of samples to process.
        reasons: number of them that are new, changed, selected, damaged, retried or redone.
        done: number of samples that keep their row, by status.
        errors: number of those that failed, by type.
        has_shards: whether any result of the whole sink lies in a shard.
    """

    database: Database
    found: int = 0
    found_bytes: int = 0
    without_mask: int = 0
    without_version: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    forgotten: int = 0
    gone: int = 0
    gone_statuses: Counter[str] = field(default_factory=Counter)
    todo: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    has_shards: bool = False

    def result_counts(self) -> dict[str, int]:
        """Number of results per file that rows named before the job."""
        query = "SELECT earlier_uri, count(*) FROM planned WHERE earlier_uri IS NOT NULL GROUP BY ALL"
        return dict(self.database.run(query))

    def known_good(self) -> tuple[Sample, ...]:
        """Return a few finished samples to test workers with."""
        columns = ", ".join(SAMPLE_SCHEMA.names)
        query = (
            f"SELECT {columns} FROM planned WHERE found AND reason IS NULL AND status = '{OK}' AND {_READABLE} LIMIT 3"
        )
        return tuple(sample for table in self.database.stream(query, CHUNK_SAMPLES) for sample in table.to_pylist())

    def chunks(self) -> Iterator[pa.Table]:
        """Yield the samples to process, in order of their id, as tables of bounded size.

        Yields:
            Columns of ``SAMPLE_SCHEMA``.
        """
        columns = ", ".join(SAMPLE_SCHEMA.names)
        query = f"SELECT {columns} FROM planned WHERE found AND reason IS NOT NULL ORDER BY sample_id"
        ((largest_bytes,),) = self.database.run("SELECT max(octet_length(carried)) FROM planned")
        return self.database.stream(query, min(CHUNK_SAMPLES, CHUNK_CARRIED_BYTES // (largest_bytes or 1)))


@usable()
def make_plan(config: JobConfig, database: Database, weights_fingerprint: str, manifest: Manifest) -> Plan:
    """Compare the table ``samples`` with the rows of the manifest.

    Raises:
        ConfigError: rows of other weights or settings that neither ``run.redo_changed`` nor ``run.select`` allows, rows
            at all with ``run.resume=false``.
    """
    select = config.run.select
    of_slice = [] if config.run.own_slice is None else ["input_uri"]
    manifest.load_into(database, list(dict.fromkeys([*PLAN_COLUMNS, *of_slice, *named_columns(select)])))
    has_shards = bool(database.run("SELECT 1 FROM rows WHERE output_member IS NOT NULL LIMIT 1"))
    if names_reviews(select):
        add_review_columns(manifest.storage, database)
    select_rows(database, select)
    leave_out_other_slices(config, database)
    forgotten = leave_out_forgotten(manifest.storage, database)
    ((row_count,),) = database.run("SELECT count(*) FROM rows")
    if row_count and not config.run.resume:
        raise ConfigError(
            f"run.resume=false, but {config.sink.uri} already holds {row_count} rows; choose another sink.uri"
        )
    keep_other = select is not None and not config.run.redo_changed
    add_reasons(database, config, weights_fingerprint, keep_other)
    if not config.run.redo_changed and not keep_other:
        refuse_mix(config, weights_fingerprint, database, manifest.storage)
    plan = Plan(database, forgotten=forgotten, has_shards=has_shards, faults=Counter(dict(database.run(_FAULTS))))
    for found, reason, status, error_type, count, size_bytes, without_mask, without_version in database.run(_COUNTS):
        if not found:
            plan.gone += count
            plan.gone_statuses[status] += count
            continue
        plan.found += count
        plan.found_bytes += size_bytes
        plan.without_mask += without_mask
        plan.without_version += without_version
        if reason:
            plan.todo += count
            plan.reasons[reason] += count
        else:
            plan.done[status] += count
            if error_type:
                plan.errors[error_type] += count
    if plan.without_version:
        logger.warning("%d of %d samples: %s", plan.without_version, plan.found, WITHOUT_VERSION)
    return plan


# The locators of samples are unknown for shards that were not opened.
_READABLE = "(file IS NULL OR locator IS NOT NULL) AND mask_key IS NOT NULL"

# A truncated shard needs no mask.
_COUNTS = f"""
SELECT
    found, reason, status, error_type, count(*), sum(size_bytes),
    count(*) FILTER (found AND mask_key IS NULL AND (fault IS NULL OR starts_with(fault, 'MissingMask'))),
    count(*) FILTER (found AND {IS_UNKNOWN} AND fault IS NULL)
FROM planned GROUP BY ALL"""

_FAULTS = """
SELECT split_part(fault, ':', 1), count(*) FROM planned
WHERE found AND reason IS NOT NULL AND fault IS NOT NULL AND NOT starts_with(fault, 'MissingMask')
GROUP BY ALL"""
