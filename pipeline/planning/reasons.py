"""Decides which samples are processed, and why."""

from pipeline.config.job import JobConfig
from pipeline.database import Database
from pipeline.records import FAILED, RESULT_FAULTS
from pipeline.sources.versions import is_changed_sql

NEW, CHANGED, SELECTED, DAMAGED, RETRIED, REDONE = "new", "changed", "selected", "damaged", "retried", "redone"


def add_reasons(database: Database, config: JobConfig, weights_fingerprint: str, keep_other: bool) -> None:
    """Create the table ``planned``: every sample and every row, with the reason to process the sample.

    It replaces the tables that it is made of.
    The reason is null where the row is kept. ``other`` is true where the row has other weights or settings.

    Args:
        database: with the tables ``samples``, ``rows`` and ``selected``.
        config: the job.
        weights_fingerprint: of its weights.
        keep_other: rows of other weights or settings are kept.
    """
    database.run("SET disabled_optimizers = 'statistics_propagation'")  # it fails where a slice has no samples
    database.run(
        _COMPARE,
        {
            "weights": weights_fingerprint,
            "settings": config.fingerprint,
            "retry_all": config.run.retry_failed is True,
            "retried_types": config.run.retried_types,
            "keep_other": keep_other,
        },
    )
    database.run("RESET disabled_optimizers")
    database.drop("samples", "rows", "selected")


_COMPARE = f"""
CREATE TABLE planned AS
WITH compared AS (
    SELECT
        samples.*,
        samples.sample_id IS NOT NULL AS found,
        rows.sample_id IS NOT NULL AS has_row,
        rows.status,
        rows.error_type,
        rows.output_uri AS earlier_uri,
        rows.output_member,
        rows.weights_fingerprint,
        rows.config_fingerprint,
        rows.input_version AS row_version,
        rows.sample_id IN (FROM selected) AS is_selected,
        (rows.weights_fingerprint, rows.config_fingerprint) IS DISTINCT FROM ($weights, $settings) AS other
    FROM samples FULL JOIN rows ON samples.sample_id = rows.sample_id
)
SELECT
    *,
    CASE
        WHEN NOT found THEN NULL
        WHEN NOT has_row THEN '{NEW}'
        WHEN {is_changed_sql("row_version", "input_version")} THEN '{CHANGED}'
        WHEN is_selected THEN '{SELECTED}'
        WHEN error_type IN {RESULT_FAULTS} THEN '{DAMAGED}'
        WHEN status = '{FAILED}' AND ($retry_all OR list_contains($retried_types, error_type)) THEN '{RETRIED}'
        WHEN other AND NOT $keep_other THEN '{REDONE}'
    END AS reason
FROM compared"""
