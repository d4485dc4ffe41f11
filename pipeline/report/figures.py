"""Statistics of a manifest of any size, computed in the database."""

from dataclasses import dataclass
from itertools import pairwise

from pipeline.cluster.sentences import Sentence, sentences
from pipeline.counts import COLUMNS, LEFT, RowCounts
from pipeline.database import Database
from pipeline.errors import ConfigError
from pipeline.manifest.log import Manifest
from pipeline.records import FAILED, OK, STATUSES
from pipeline.report.runs import RunFigures, newest_summary, read_rates, read_runs
from pipeline.storage.storage import Storage

SEAM_BINS, MIN_SEAM_STEP = 30, 0.1
ROWS_AT_ONCE = 1_000_000  # that are counted
MAX_CLASSES, EXAMPLES, MESSAGE_CHARACTERS = 30, 3, 400
HOLE_EDGES = (0.0, 0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)  # of mask_fraction
STAGES = ("decode", "inpaint", "encode")


@dataclass(frozen=True)
class FailureClass:
    """Samples that failed in the same way, with some names and messages."""

    stage: str
    kind: str
    count: int
    examples: list[tuple[str, str]]


@dataclass(frozen=True)
class StageSeconds:
    """Seconds per sample of a stage: median, 95th percentile, maximum and sum."""

    stage: str
    median_s: float
    p95_s: float
    max_s: float
    sum_s: float


@dataclass(frozen=True)
class Figures:
    """All numbers of the page.

    Args:
        counts: samples by status, those included that are no longer in the source.
        suspicious: results by what is suspicious about them.
        verified: verified samples by the try that was clean, and those in which something is left.
        newest: what the newest run counted, in the sentences of its log.
        pixels, windows, output_bytes: sums over all samples.
        runs: the newest first.
        runs_left_out: number of older runs that have rows.
        rates: of each charted run, (seconds since its first row, samples per second).
        failures: the most frequent first.
        failures_left_out: failed samples of further classes.
        hole_sizes: number of samples between two of ``HOLE_EDGES``.
        seams: (lower edge, upper edge, samples); the outermost bins include values beyond them.
    """

    counts: dict[str, int]
    suspicious: dict[str, int]
    verified: dict[str, int]
    newest: list[Sentence]
    pixels: int
    windows: int
    output_bytes: int
    runs: list[RunFigures]
    runs_left_out: int
    rates: dict[str, list[tuple[float, float]]]
    stages: list[StageSeconds]
    failures: list[FailureClass]
    failures_left_out: int
    hole_sizes: list[int]
    seams: list[tuple[float, float, int]]

    @property
    def left(self) -> int:
        """Number of verified samples in which something is left."""
        return self.verified.get(LEFT, 0)

    @property
    def samples(self) -> int:
        """Number of samples of all statuses."""
        return sum(self.counts.values())


def load_rows(sink: Storage, database: Database, columns: list[str]) -> None:
    """Create the table ``rows``, one row per sample.

    Raises:
        ConfigError: there is no row.
    """
    Manifest(sink).load_into(database, columns)
    if not database.run("SELECT 1 FROM rows LIMIT 1"):
        raise ConfigError(f"no manifest with rows in {sink}; is that the sink.uri of a job?")


def read_figures(sink: Storage, database: Database) -> Figures:
    """Compute figures from the table ``rows`` and from the summaries of its runs."""
    ((pixels, windows, output_bytes),) = database.run(
        """SELECT coalesce(sum(width * height), 0), coalesce(sum(window_count), 0), coalesce(sum(output_bytes), 0)
        FROM rows"""
    )
    failures, left_out = _failures(database)
    runs = read_runs(sink, database)
    rows = database.stream(f"SELECT {', '.join(COLUMNS)} FROM rows", ROWS_AT_ONCE)
    counts = RowCounts.of(rows, _max_residual(runs))
    ((run_count,),) = database.run("SELECT count(DISTINCT run_id) FROM rows")
    return Figures(
        counts={status: counts.statuses[status] for status in STATUSES},
        suspicious=dict(database.run(_SUSPICIOUS)),
        verified=dict(sorted(counts.verified.items())),
        newest=sentences(newest_summary(sink)),
        pixels=int(pixels),
        windows=int(windows),
        output_bytes=int(output_bytes),
        runs=runs,
        runs_left_out=run_count - len(runs),
        rates=read_rates(database),
        stages=_stages(database),
        failures=failures,
        failures_left_out=left_out,
        hole_sizes=_hole_sizes(database),
        seams=_seams(database),
    )


def _max_residual(runs: list[RunFigures]) -> float:
    """Return up to which residual a result is clean, as the newest run means it."""
    verify = (runs[0].summary if runs else {}).get("configuration", {}).get("verify", {})
    return float(verify.get("max_residual", 0))


def _stages(database: Database) -> list[StageSeconds]:
    stages = []
    for stage in STAGES:
        ((median, p95, longest, together),) = database.run(
            f"""SELECT median({stage}_s), quantile_cont({stage}_s, 0.95), max({stage}_s), sum({stage}_s) FROM rows
            WHERE isfinite({stage}_s)"""
        )
        if median is not None:
            stages.append(StageSeconds(stage, median, p95, longest, together))
    return stages


def _failures(database: Database) -> tuple[list[FailureClass], int]:
    found = database.run(
        f"""SELECT coalesce(error_stage, '?'), coalesce(error_type, '?'), count(*) AS number,
            min_by(left(coalesce(error_message, ''), {MESSAGE_CHARACTERS}), sample_id, {EXAMPLES}),
            min(sample_id, {EXAMPLES})
        FROM rows WHERE status = '{FAILED}' GROUP BY ALL ORDER BY number DESC, 1, 2"""
    )
    classes = [
        FailureClass(stage, kind, count, list(zip(names, messages, strict=True)))
        for stage, kind, count, messages, names in found[:MAX_CLASSES]
    ]
    return classes, sum(count for *_, count, _, _ in found[MAX_CLASSES:])


def _hole_sizes(database: Database) -> list[int]:
    counts = ", ".join(
        f"count(*) FILTER (mask_fraction > {low} AND mask_fraction <= {high})" for low, high in pairwise(HOLE_EDGES)
    )
    return list(database.run(f"SELECT {counts} FROM rows WHERE status = '{OK}'")[0])


def _seams(database: Database) -> list[tuple[float, float, int]]:
    """Count scores in equal bins over their central 99 %, or over a wider range if they are nearly equal."""
    scored = f"FROM rows WHERE status = '{OK}' AND isfinite(seam_score)"
    ((low, high),) = database.run(f"SELECT quantile_disc(seam_score, 0.005), quantile_disc(seam_score, 0.995) {scored}")
    if low is None:
        return []
    step = max((high - low) / SEAM_BINS, MIN_SEAM_STEP)
    counts = dict(
        database.run(
            f"""SELECT greatest(0, least({SEAM_BINS - 1}, floor((seam_score - $low) / $step)))::BIGINT AS bin, count(*)
            {scored} GROUP BY ALL""",
            {"low": low, "step": step},
        )
    )
    return [(low + index * step, low + (index + 1) * step, counts.get(index, 0)) for index in range(SEAM_BINS)]


_SUSPICIOUS = f"""
SELECT suspicious, count(*) FROM rows WHERE status = '{OK}' AND suspicious IS NOT NULL GROUP BY ALL ORDER BY 1"""
