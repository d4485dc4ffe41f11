"""Draws a stratified sample of the results of a sink, the same one each time."""

import hashlib
import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.database import Database
from pipeline.errors import ConfigError
from pipeline.manifest.log import Manifest
from pipeline.planning.select_expression import check_selection, classify_rows, named_columns, select_rows
from pipeline.records import OK, UNCHANGED
from pipeline.sources.versions import file_version_sql
from pipeline.storage.errors import usable
from pipeline.storage.storage import Storage
from pipeline.verdicts.current import add_review_columns
from pipeline.verdicts.rates import ALL_RESULTS

WHERE, BY = "--where", "--by"
MIN_ROWS = 2  # of a stratum in a sample, where it has so many
COLUMNS = [
    "sample_id",
    "status",
    "error_stage",
    "error_message",
    "input_uri",
    "input_version",
    "mask_uri",
    "width",
    "height",
    "mask_fraction",
    "output_uri",
    "output_member",
    "output_format",
    "output_sha256",
    "seam_score",
    "suspicious",
    "residual",
    "orientation",
    "run_id",
]


@dataclass(frozen=True)
class Draw:
    """A sample of results.

    Args:
        round: short name, equal for equal samples of equal results.
        population: the expression that the results fulfil, or ``ALL_RESULTS``.
        strata: by name, the number of results that were there to draw from.
        rows: the drawn rows in random order, with the columns ``COLUMNS``, ``file_version`` and their ``stratum``.
    """

    round: str
    population: str
    strata: Mapping[str, int]
    rows: list[dict[str, Any]]

    @property
    def population_rows(self) -> int:
        """Number of results in all strata."""
        return sum(self.strata.values())

    def design(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the columns of a review that do not come from a person.

        They say which result was looked at, and let rates be estimated, see :mod:`pipeline.verdicts.rates`.
        """
        return {
            "output_sha256": row["output_sha256"],
            "file_version": row["file_version"],
            "round": self.round,
            "stratum": row["stratum"],
            "stratum_rows": self.strata[row["stratum"]],
            "population": self.population,
            "population_rows": self.population_rows,
        }


@usable()
def draw_sample(sink: Storage, where: str | None, by: str | None, count: int, seed: int) -> Draw:
    """Draw results, at random within strata, by the hash of their names.

    Args:
        sink: of the job.
        where: SQL expression over rows, with the columns of reviews; ``None`` takes all results.
        by: SQL expression whose values are the strata; ``None``: kind of result, seam score and size of the hole.
        count: number of results, or as many as there are.
        seed: another one draws another sample.

    Raises:
        ConfigError: an expression is faulty, no result fulfils it, or there are more strata than ``count``.
    """
    check_selection(where, WHERE)
    check_selection(by, BY, classifies=True)
    named = [*named_columns(where), *named_columns(by)]
    with Database() as database:
        Manifest(sink).load_into(database, list(dict.fromkeys([*COLUMNS, *named])))
        add_review_columns(sink, database)
        select_rows(database, where or "true", WHERE)
        if by:
            classify_rows(database, by, BY)
            database.run(_BY_CLASS)
        else:
            database.run(_BY_QUALITY)
        strata = {name: number for name, number in database.run(_COUNT)}
        if not strata:
            there = f" where {where}" if where else ""
            raise ConfigError(f"{sink} holds no result{there}; is it the sink.uri of a job?")
        if len(strata) > count and not by:
            database.run("UPDATE drawn_from SET stratum = 'all'")
            strata = {"all": sum(strata.values())}
        if len(strata) > count:
            raise ConfigError(f"{BY}={by!r} makes {len(strata)} strata, --count {count} is less: choose fewer")
        rows = _pick(database, allocate(strata, count), seed)
    identity = "\n".join([where or "", by or "", *(f"{row['sample_id']} {row['output_sha256']}" for row in rows)])
    return Draw(hashlib.sha256(identity.encode()).hexdigest()[:12], where or ALL_RESULTS, strata, rows)


def allocate(strata: Mapping[str, int], count: int) -> dict[str, int]:
    """Distribute a number of rows over strata in proportion to the square root of their size.

    Small strata, which hold the unusual results, thus get more than their share, and large ones still get most. Each
    gets at least ``MIN_ROWS``, as far as it has them and ``count`` suffices.

    Args:
        strata: sizes by name, none of them 0.
        count: at least the number of strata.
    """
    least = MIN_ROWS if count >= MIN_ROWS * len(strata) else 1
    shares = {name: min(least, size) for name, size in strata.items()}
    # The next row goes where the share is furthest below its due; ties are decided by name.
    waiting = [(_met(strata[name], shares[name]), name) for name in strata if shares[name] < strata[name]]
    heapq.heapify(waiting)
    for _ in range(min(count, sum(strata.values())) - sum(shares.values())):
        _, neediest = heapq.heappop(waiting)
        shares[neediest] += 1
        if shares[neediest] < strata[neediest]:
            heapq.heappush(waiting, (_met(strata[neediest], shares[neediest]), neediest))
    return shares


def _met(size: int, share: int) -> float:
    """Return the share of a stratum relative to its due; the smallest one gets the next row."""
    return (share + 0.5) / math.sqrt(size)


def _pick(database: Database, shares: Mapping[str, int], seed: int) -> list[dict[str, Any]]:
    database.run("CREATE TABLE shares (stratum VARCHAR, number BIGINT)")
    for stratum, number in shares.items():
        database.run("INSERT INTO shares VALUES ($stratum, $number)", {"stratum": stratum, "number": number})
    columns = ", ".join([*COLUMNS, f"{file_version_sql('input_version')} AS file_version"])
    picked = database.stream(_PICK.format(columns=columns), sum(shares.values()), {"seed": str(seed)})
    return [row for table in picked for row in table.to_pylist()]


_RESULTS = f"status IN ('{OK}', '{UNCHANGED}') AND sample_id IN (FROM selected)"

_BY_CLASS = f"""
CREATE TABLE drawn_from AS SELECT sample_id, coalesce("class", 'NULL') AS stratum
FROM classified JOIN rows USING (sample_id) WHERE {_RESULTS}"""

_BY_QUALITY = f"""
CREATE TABLE drawn_from AS
WITH results AS (SELECT * FROM rows WHERE {_RESULTS}), edges AS (
    SELECT
        quantile_disc(seam_score, 0.5) FILTER (isfinite(seam_score)) AS seam_median,
        quantile_disc(seam_score, 0.9) FILTER (isfinite(seam_score)) AS seam_high,
        quantile_disc(mask_fraction, 0.5) AS hole_median
    FROM results WHERE status = '{OK}' AND suspicious IS NULL AND coalesce(residual, 0) = 0
)
SELECT sample_id, CASE
    WHEN status = '{UNCHANGED}' THEN 'unchanged'
    WHEN suspicious IS NOT NULL THEN 'suspicious'
    WHEN residual > 0 THEN 'something left'
    ELSE concat(
        CASE
            WHEN seam_score <= seam_median THEN 'seam in the lower half'
            WHEN seam_score <= seam_high THEN 'seam in the upper half'
            ELSE 'seam in the top tenth'
        END,
        if(mask_fraction <= hole_median, ', small hole', ', large hole')
    )
END AS stratum
FROM results, edges"""

_COUNT = "SELECT stratum, count(*) FROM drawn_from GROUP BY stratum ORDER BY stratum"

_PICK = """
SELECT {columns}, stratum FROM rows JOIN (
    SELECT sample_id, stratum FROM (
        SELECT sample_id, stratum, row_number() OVER (
            PARTITION BY stratum ORDER BY sha256(concat($seed, '/', sample_id)), sample_id
        ) AS place FROM drawn_from
    ) JOIN shares USING (stratum) WHERE place <= number
) USING (sample_id)
ORDER BY sha256(concat($seed, '/', sample_id)), sample_id"""
