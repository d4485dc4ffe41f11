"""Measures the report of a large sink: made-up rows, and real photos behind those that it shows."""

import io
import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.bench.plan import peak_mb
from pipeline.bench.sink import RUN_ID, fill_sink, made_up_key
from pipeline.config.job import JobConfig
from pipeline.database import Database
from pipeline.records import FAILED, OK
from pipeline.report.figures import load_rows
from pipeline.report.gallery import choose_samples
from pipeline.report.publish import COLUMNS, SAMPLES, make_report
from pipeline.storage.storage import Storage

WIDTH, HEIGHT, HOLE = 1600, 1200, (slice(500, 620), slice(700, 900))
RUN_S = 36_000.0
FAILED_SHARE = 0.01
KINDS = ("TruncatedImage", "UnreadableImage", "MissingMask", "MaskSizeMismatch")


@dataclass(frozen=True)
class ReportFigures:
    """Figures of making a report.

    Args:
        rows: in the manifest.
        report_s: reading them, counting, and drawing the pictures of some samples.
        peak_mb: largest memory of the process, made-up rows and all.
        page_mb: size of the page.
        pictures: photos, holes and results on it.
    """

    rows: int
    report_s: float
    peak_mb: float
    page_mb: float
    pictures: int


def measure_report(rows: int) -> ReportFigures:
    """Write a manifest of so many rows, and the files of the samples that the report shows, and make the report."""
    with tempfile.TemporaryDirectory() as folder:
        config, sink = fill_sink(folder, rows, partial(_columns, rows))
        _write_run(config, sink)
        _write_files(config, sink)
        started = time.monotonic()
        page = make_report(sink, {})
        took_s = time.monotonic() - started
    return ReportFigures(rows, took_s, peak_mb(), len(page) / 1e6, page.count(b"data:image/webp"))


def _columns(total: int, config: JobConfig, start: int, stop: int) -> Mapping[str, Any]:
    """Return manifest rows of a job that took :data:`RUN_S` seconds, by column."""
    generator, count = np.random.default_rng(start), stop - start
    failed = generator.random(count) < FAILED_SHARE
    kinds = generator.integers(len(KINDS), size=count)
    keys = [made_up_key(number) for number in range(start, stop)]
    began = datetime(2026, 1, 1, tzinfo=UTC)
    first_us, step_us = int(start * RUN_S / total * 1e6), RUN_S / total * 1e6
    return {
        "sample_id": keys,
        "status": np.where(failed, FAILED, OK),
        "error_stage": pa.array(np.full(count, "decode"), mask=~failed),
        "error_type": pa.array(np.array(KINDS)[kinds], mask=~failed),
        "error_message": pa.array([f"{key} cannot be decoded: it is cut short" for key in keys], mask=~failed),
        "input_uri": [f"{config.source.uri}/{key}" for key in keys],
        "input_version": np.full(count, ""),  # unknown: any version is taken
        "mask_kind": np.full(count, "paired"),
        "mask_uri": [f"{config.mask.uri}/{key}.png" for key in keys],
        "width": pa.array(np.full(count, WIDTH), mask=failed),
        "height": pa.array(np.full(count, HEIGHT), mask=failed),
        "mask_fraction": pa.array(generator.beta(1, 12, count), mask=failed),
        "window_count": generator.poisson(2, count) + 1,
        "output_uri": pa.array([f"{config.sink.uri}/data/{key}" for key in keys], mask=failed),
        "output_format": np.full(count, "jpeg"),
        "output_bytes": generator.integers(100_000, 900_000, count),
        "seam_score": pa.array(generator.gamma(2, 2, count) - 1, mask=failed),
        "run_id": np.full(count, RUN_ID),
        "started_at": [began + timedelta(microseconds=first_us + step_us * number) for number in range(count)],
        "decode_s": generator.gamma(3, 0.01, count),
        "inpaint_s": pa.array(generator.gamma(4, 0.1, count), mask=failed),
        "encode_s": pa.array(generator.gamma(3, 0.01, count), mask=failed),
    }


def _write_run(config: JobConfig, sink: Storage) -> None:
    """Write the part of a run's summary that a report reads."""
    summary = {"run_id": RUN_ID, "state": "ended", "configuration": asdict(config) | {"storage": {}}}
    sink.write(f"runs/{RUN_ID}.json", json.dumps(summary).encode())


def _write_files(config: JobConfig, sink: Storage) -> None:
    """Photo, mask and result of the samples that the report will choose."""
    with Database() as database:
        load_rows(sink, database, COLUMNS)
        chosen = choose_samples(database, SAMPLES)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[HOLE] = 255
    generator = np.random.default_rng(0)
    smooth = Image.fromarray(generator.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8))
    photo = _encoded(smooth.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), "JPEG")
    for row in chosen:
        name = row["sample_id"]
        Storage(config.source.uri).write(name, photo)
        Storage(config.mask.uri).write(f"{name}.png", _encoded(Image.fromarray(mask), "PNG"))
        sink.write(f"data/{name}", photo)


def _encoded(picture: Image.Image, container: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, container)
    return buffer.getvalue()
