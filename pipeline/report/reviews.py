"""Figures of the reviews of a sink: rates of defects, and which results are bad."""

from dataclasses import dataclass, field

from pipeline.database import Database
from pipeline.report.formatting import number, percent
from pipeline.storage.storage import Storage
from pipeline.verdicts.current import RESULT_HASH, add_review_columns
from pipeline.verdicts.files import BAD, find_keys
from pipeline.verdicts.rates import ALL_RESULTS, Round, read_rounds

MAX_BAD = 100


@dataclass(frozen=True)
class BadResult:
    """A present result that its latest review calls bad."""

    sample_id: str
    note: str | None
    reviewer: str | None


@dataclass(frozen=True)
class ReviewFigures:
    """Rates of defects and bad results, as reviews tell them.

    Args:
        rounds: the newest first.
        verdicts: number of present results by their latest verdict.
        bad: the first of those that are bad.
    """

    rounds: list[Round] = field(default_factory=list)
    verdicts: dict[str, int] = field(default_factory=dict)
    bad: list[BadResult] = field(default_factory=list)

    @property
    def sentences(self) -> list[str]:
        """Describe each round."""
        return [describe_round(found) for found in self.rounds]


NO_REVIEWS = ReviewFigures()


def columns_for_reviews(sink: Storage) -> list[str]:
    """Return the columns that the table ``rows`` needs for reviews; none where there are no reviews."""
    return [RESULT_HASH] if find_keys(sink) else []


def read_review_figures(sink: Storage, database: Database) -> ReviewFigures:
    """Read rates and bad results, and add the columns of reviews to the table ``rows``, which has their columns."""
    rounds = read_rounds(sink, database)
    add_review_columns(sink, database)
    verdicts = dict(
        database.run("SELECT verdict, count(*) FROM rows WHERE verdict IS NOT NULL GROUP BY ALL ORDER BY 1")
    )
    bad = [BadResult(*found) for found in database.run(_BAD)]
    return ReviewFigures(rounds, verdicts, bad)


def describe_round(found: Round) -> str:
    """Return a line such as ``defects: 2.1 % (95 %: 1.2 % – 3.6 %), 300 of 10,000 results reviewed``."""
    rate = found.rate
    share = "unknown" if rate is None else f"{percent(rate.value)} (95 %: {percent(rate.low)} – {percent(rate.high)})"
    line = f"defects: {share}, {number(found.reviewed)} of {number(found.population_rows)} results reviewed"
    if found.population != ALL_RESULTS:
        line += f" where {found.population}"
    if found.unsure:
        line += f"; not counted: {number(found.unsure)} unsure"
    if found.covered_rows < found.population_rows:
        line += f"; strata of {number(found.population_rows - found.covered_rows)} results have no verdict yet"
    if found.redone:
        line += f"; {number(found.redone)} of {number(found.bad)} bad ones redone since"
    return line


_BAD = f"""
SELECT sample_id, note, reviewer FROM rows WHERE verdict = '{BAD}'
ORDER BY reviewed_at DESC, sample_id LIMIT {MAX_BAD}"""
