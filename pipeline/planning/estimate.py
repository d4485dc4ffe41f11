"""Estimates the time of a job from a sample of photos cut into windows and a measured rate."""

import json
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.job import JobConfig
from pipeline.database import Database
from pipeline.detection.detector import open_detector
from pipeline.errors import ConfigError, SampleError
from pipeline.records import SAMPLE_SCHEMA
from pipeline.sources.reader import Reader
from pipeline.worker.sample import new_record, prepare

RATE_KEY, STEPS_KEY = "windows_per_second", "steps"  # of the JSON of ``moebius bench model``
NORMAL_95 = 1.96


@dataclass(frozen=True)
class Rate:
    """Windows per second of one device.

    Args:
        windows_per_s: of one GPU.
        origin: source of the figure, for a person.
        evaluations: of the model for each of these windows; ``None``: as many as the job's.
    """

    windows_per_s: float
    origin: str
    evaluations: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.windows_per_s < math.inf:
            raise ConfigError(f"windows per second must be a positive number, got {self.windows_per_s} ({self.origin})")

    def scaled(self, evaluations: int) -> "Rate":
        """Return the rate for windows that take ``evaluations`` evaluations of the model each."""
        if self.evaluations in (None, evaluations):
            return self
        measured = f"measured {self.windows_per_s:.4g} with {self.evaluations} evaluations per window"
        rate = self.windows_per_s * self.evaluations / evaluations
        return Rate(rate, f"{self.origin}; {measured}, scaled to {evaluations}", evaluations)


@dataclass(frozen=True)
class WindowSample:
    """Statistics of some photos of a plan.

    Args:
        windows: work of each photo, as a number of windows of the first pass; a window of a second pass takes fewer
            evaluations of the model and counts less. 0 for a photo that fails.
        failed: number of photos that would fail.
        decode_s: seconds of one CPU core for reading headers, decoding and cutting a photo, on average.
        verify_s: of one look of the verifying detector at a photo; ``None`` where results are not verified.
    """

    windows: Sequence[float]
    failed: int
    decode_s: float
    verify_s: float | None = None

    @property
    def mean(self) -> float:
        """Mean work of a photo, in windows."""
        return statistics.fmean(self.windows)

    @property
    def margin(self) -> float:
        """Half width of the 95 % confidence interval of the mean."""
        if len(self.windows) < 2:
            return math.inf
        return NORMAL_95 * statistics.stdev(self.windows) / math.sqrt(len(self.windows))


def read_rate(path: Path) -> Rate:
    """Read the rate from the JSON of ``moebius bench model``, which guides every step: each takes two evaluations.

    Raises:
        ConfigError: no such file, or none with that figure.
    """
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
        rate, steps = float(figures[RATE_KEY]), figures.get(STEPS_KEY)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is not JSON of moebius bench model with {RATE_KEY}: {error!r}") from error
    origin = f"{path}, {figures.get('machine', 'on a machine that it does not name')}"
    return Rate(rate, origin, 2 * int(steps) if steps else None)


def sample_windows(config: JobConfig, database: Database, window_px: int, count: int) -> WindowSample:
    """Read, decode and cut some planned samples, chosen deterministically by the hash of their names.

    Args:
        config: the job.
        database: with the table ``planned``.
        window_px: side of a window.
        count: maximum number of photos.
    """
    columns = ", ".join(SAMPLE_SCHEMA.names)
    query = f"SELECT {columns} FROM planned WHERE found AND reason IS NOT NULL ORDER BY md5(sample_id) LIMIT {count}"
    samples = [row for table in database.stream(query, count) for row in table.to_pylist()]
    reader, verifier = Reader(config), config.verifying_detector
    detector = open_detector(verifier) if verifier else None
    settings = config.inpaint_settings
    per_window = settings.evaluations(settings.strength)
    records, windows, looks_s, failed = [], [], list[float](), 0
    for sample, inputs in zip(samples, reader.read_all(samples), strict=True):
        records.append(new_record(sample, config, reader, "", ""))
        work = 0.0
        try:
            if isinstance(inputs, Exception):
                raise inputs
            job = prepare(records[-1], inputs, config, window_px)
            first = job.window_count - job.refined_count
            work = settings.photo_evaluations(first, job.refined_count) / per_window
            if detector and job.windows:
                started = time.perf_counter()
                detector.find(job.seen)
                looks_s.append(time.perf_counter() - started)
        except (SampleError, OSError):
            failed += 1
        windows.append(work)
    decode_s = [record.decode_s for record in records if record.decode_s is not None]
    verify_s = statistics.fmean(looks_s) * len(looks_s) / len(decode_s) if looks_s else 0.0
    return WindowSample(
        windows, failed, statistics.fmean(decode_s) if decode_s else 0.0, verify_s if detector else None
    )


def describe_sizing(photos: int, sample: WindowSample, rate: Rate, gpu_hour_cost: float | None) -> dict[str, str]:
    """Describe the estimate for a number of photos as labels and texts, with its assumptions."""
    gpu_h = photos * sample.mean / rate.windows_per_s / 3600
    share = sample.margin / sample.mean if sample.mean else 0.0
    spread = f"± {share:.0%}" if share < math.inf else "from one photo"
    drawn = f"from {len(sample.windows)} photos, {sample.failed} of which fail"
    lines = {
        "windows": f"{sample.mean:.3g} per photo {spread}, {drawn}",
        "rate": f"{rate.windows_per_s:.4g} windows per second and GPU ({rate.origin})",
        "GPU hours": f"{gpu_h:.3g} {spread}: " + ", ".join(f"{gpu_h / gpus:.3g} h on {gpus}" for gpus in (1, 8, 64)),
    }
    if gpu_hour_cost is not None:
        lines["cost"] = f"{gpu_h * gpu_hour_cost:.2f} {spread}, at {gpu_hour_cost:g} per GPU hour"
    cpu_s, work, further = sample.decode_s + (sample.verify_s or 0.0), "decoding only", ""
    if sample.verify_s is not None:
        work, further = "decoding and one look of the verifying detector", "further tries of verify.ladder, "
        lines["verification"] = f"{sample.verify_s:.3g} s per photo and try on a core of this machine"
    cores = rate.windows_per_s / sample.mean * cpu_s if sample.mean else 0.0
    lines["CPU cores"] = f"{cores:.2g} per GPU, for {work} ({cpu_s:.3g} s per photo on this machine)"
    lines["assumed"] = (
        "GPUs that never wait for storage or CPU cores, and that all share the work evenly; all photos are like those "
        f"drawn. Not counted: {further}listing, start of the workers, lost nodes, storage and transfer"
    )
    return lines
