import csv
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

from pipeline.config.source import SourceConfig
from pipeline.training.config import TrainingConfig
from pipeline.training.page import MAX_POINTS, line_of, read_rows, write_page
from tests.conftest import textured
from tests.pipeline.browser import needs_chromium

MADE_AT = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)


def write_log(path, rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def folder(tmp_path):
    steps = np.arange(10, 2001, 10)
    noise = np.random.default_rng(0).normal(1, 0.1, len(steps))
    names = ("total", "task", "fine", "coarse", "task_weight", "fine_weight", "grad_norm")
    losses = [
        {"step": step, **{name: value * 30 / (step + 30) for name in names}, "steps_per_s": 2.5}
        for step, value in zip(steps, noise, strict=True)
    ]
    losses[5]["total"] = float("inf")
    write_log(tmp_path / "losses.csv", losses)
    write_log(tmp_path / "validation.csv", [{"step": s, "held_out_noise": 1 / (s + 1)} for s in (0, 1000, 2000)])
    Image.fromarray(np.tile(textured(128, 128), (4, 8, 1))).save(tmp_path / "grid.png")
    return tmp_path


@pytest.fixture
def config():
    source = SourceConfig(format="webdataset", uri="s3://bucket/a/")
    return TrainingConfig(vae="vae", source=source, storage={"secret": "very-secret"}, steps=4000)


def test_page_has_a_chart_of_every_column_the_samples_and_no_secret(folder, config):
    write_page(folder, "out/<run>", config, MADE_AT)
    page = (folder / "training.html").read_text()
    for name in ("total", "task", "fine", "coarse", "task_weight", "fine_weight", "grad_norm", "held_out_noise"):
        assert f'aria-label="{name} by step"' in page
    assert "data:image/webp;base64," in page and "out/&lt;run&gt;" in page and "2026-03-04 05:06 UTC" in page
    assert "very-secret" not in page and "secret: '***'" in page.replace("&#39;", "'")
    assert "<script" not in page and "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_page_of_a_run_without_figures_is_written(tmp_path, config):
    write_page(tmp_path, "out/new", config, MADE_AT)
    assert "out/new" in (tmp_path / "training.html").read_text()


def test_long_logs_are_averaged_and_values_that_are_no_numbers_left_out(folder):
    assert 60 not in [step for step, _ in line_of(read_rows(folder / "losses.csv"), "total")]
    rows = [{"step": float(step), "total": float(step % 2)} for step in range(1, 4001)]
    line = line_of(rows, "total")
    assert len(line) <= MAX_POINTS and line[-1][0] == 4000
    assert np.mean([value for _, value in line]) == pytest.approx(0.5, abs=0.01)


@needs_chromium
@pytest.mark.parametrize("width", [1280, 390])
def test_page_fits_its_window_and_reports_no_error(folder, config, browser, width):
    write_page(folder, "out/run", config, MADE_AT)
    page, errors = browser.new_page(viewport={"width": width, "height": 900}), []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((folder / "training.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("svg.chart").count() == 9
    assert page.locator("img").evaluate("image => image.naturalWidth") > 500
    assert errors == []
    page.close()
