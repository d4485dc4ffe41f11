"""Estimates the share of bad results from reviews of stratified samples.

The rate is the stratified estimate: the mean of the strata's rates, weighted by their number of results. Its interval
is Wilson's at the effective sample size. Wilson's holds for rare defects and for none, where the usual interval is far
too narrow; the effective size makes it hold for samples that are not drawn in proportion. Intervals of each stratum
that are added up would be several times wider, since each stratum has few reviews.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.database import Database
from pipeline.storage.storage import Storage
from pipeline.verdicts.current import LATEST, RESULT_HASH
from pipeline.verdicts.files import BAD, GOOD, UNSURE, load_reviews

ALL_RESULTS = "all results"  # population of a draw without a condition
NORMAL_95 = 1.959964
PRIOR_REVIEWS = 4  # in simulations the intervals then hold the true rate 93 to 98 times of 100
MAX_ROUNDS = 10  # the newest


@dataclass(frozen=True)
class StratumCounts:
    """Reviews of one stratum: results in it, and those judged good or bad."""

    rows: int
    judged: int
    bad: int


@dataclass(frozen=True)
class Rate:
    """An estimated share, such as of bad results, 0 … 1, with the bounds of its 95 % confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Round:
    """The reviews of one draw.

    Args:
        name: of the draw.
        population: expression that its results fulfilled.
        population_rows: number of these results.
        covered_rows: number of them in strata with reviews.
        good, bad, unsure: verdicts; the latest of each result.
        redone: bad ones whose results have been replaced since.
        reviewed_at_s: of the last review, seconds since 1970.
        rate: of bad ones among the results at the time of the draw; ``None`` without a good or bad verdict.
    """

    name: str
    population: str
    population_rows: int
    covered_rows: int
    good: int
    bad: int
    unsure: int
    redone: int
    reviewed_at_s: float
    rate: Rate | None

    @property
    def reviewed(self) -> int:
        """Number of results with a verdict."""
        return self.good + self.bad + self.unsure


def estimate_rate(strata: Sequence[StratumCounts]) -> Rate | None:
    """Estimate the share of bad results from strata, of which those without a judged result are left out."""
    strata = [stratum for stratum in strata if stratum.judged]
    if not strata:
        return None
    total = sum(stratum.rows for stratum in strata)
    rate = sum(stratum.rows * stratum.bad / stratum.judged for stratum in strata) / total
    size = _effective_size(strata, total, rate)
    if math.isinf(size):  # everything was reviewed
        return Rate(rate, rate, rate)
    return wilson(rate, size)


def wilson(rate: float, size: float) -> Rate:
    """Return a share that a sample of a size shows, with Wilson's interval of 95 %."""
    square = NORMAL_95**2
    centre = (rate + square / (2 * size)) / (1 + square / size)
    half = NORMAL_95 / (1 + square / size) * math.sqrt(rate * (1 - rate) / size + square / (4 * size * size))
    return Rate(rate, min(rate, max(0.0, centre - half)), max(rate, min(1.0, centre + half)))


def _effective_size(strata: Sequence[StratumCounts], total: int, rate: float) -> float:
    """Return the size of a simple random sample that says as much, from the variance of the strata's rates.

    A stratum in which few or no bad results were found is not taken for perfect: its rate is moved towards that of all,
    as by ``PRIOR_REVIEWS`` more reviews. Without any bad result, or any good one, only the weights count (Kish).
    """
    of_weights = variance = moved = 0.0
    for stratum in strata:
        weight = stratum.rows / total
        share = weight**2 * max(0.0, 1 - stratum.judged / stratum.rows)  # for finite populations
        own = (stratum.bad + PRIOR_REVIEWS * rate) / (stratum.judged + PRIOR_REVIEWS)
        of_weights += share / stratum.judged
        variance += share * own * (1 - own) / max(stratum.judged - 1, 1)
        moved += weight * own
    if of_weights == 0:
        return math.inf
    return moved * (1 - moved) / variance if variance else 1 / of_weights


def read_rounds(sink: Storage, database: Database) -> list[Round]:
    """Estimate the rates of the newest rounds, the newest first.

    Args:
        sink: with reviews.
        database: with the table ``rows``, which has ``sample_id`` and ``output_sha256``.
    """
    if not load_reviews(sink, database):
        return []
    rounds = []
    for name, population, rows, good, bad, unsure, redone, reviewed_at_s in database.run(_ROUNDS):
        strata = [StratumCounts(*counts) for counts in database.run(_STRATA, {"round": name})]
        covered = sum(stratum.rows for stratum in strata if stratum.judged)
        rate = estimate_rate(strata)
        rounds.append(Round(name, population, rows, covered, good, bad, unsure, redone, reviewed_at_s, rate))
    return rounds


_JUDGED = f"""
WITH judged AS (
    SELECT * FROM reviews WHERE round IS NOT NULL AND verdict IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY round, sample_id ORDER BY {LATEST}) = 1
)"""

_ROUNDS = f"""{_JUDGED}
SELECT
    round, any_value(population), max(population_rows),
    count(*) FILTER (verdict = '{GOOD}'), count(*) FILTER (verdict = '{BAD}'), count(*) FILTER (verdict = '{UNSURE}'),
    count(*) FILTER (verdict = '{BAD}' AND rows.{RESULT_HASH} IS DISTINCT FROM judged.{RESULT_HASH}),
    epoch(max(reviewed_at))
FROM judged LEFT JOIN rows USING (sample_id)
GROUP BY round ORDER BY max(reviewed_at) DESC, round LIMIT {MAX_ROUNDS}"""

_STRATA = f"""{_JUDGED}
SELECT max(stratum_rows), count(*) FILTER (verdict <> '{UNSURE}'), count(*) FILTER (verdict = '{BAD}')
FROM judged WHERE round = $round GROUP BY stratum ORDER BY stratum"""
