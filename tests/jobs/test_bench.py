import shutil
from pathlib import Path

import pytest

import moebius.bench.checkpoints
import pipeline.bench.job
from jobs.bench import main
from moebius.weights import find_weights
from pipeline.bench.job import JobFigures
from pipeline.bench.plan import CHANGED_EVERY, ORIGINS, measure_plan


def test_random_weights_are_written_for_the_job_and_removed_after_it(tiny_weights, monkeypatch, capsys):
    folders = []

    def measure(weights: str, samples: int, steps: int) -> JobFigures:
        folders.append(Path(weights))
        assert find_weights(weights).config.image_size == 64
        return JobFigures(samples, 19, 2, 0.96, 1.0, 0.96, 9.0)

    def write(folder: Path) -> None:
        shutil.copytree(tiny_weights, folder, dirs_exist_ok=True)

    monkeypatch.setattr(moebius.bench.checkpoints, "write_random_weights", write)
    monkeypatch.setattr(pipeline.bench.job, "measure_job", measure)
    assert main(["job", "--weights", "random", "--samples", "8"]) == 0
    assert not folders[0].exists() and "of_bare                0.96" in capsys.readouterr().out


@pytest.mark.parametrize("origin", ORIGINS)
def test_planning_is_measured_over_a_made_up_listing_or_list(origin):
    figures = measure_plan(2 * CHANGED_EVERY, origin)
    assert (figures.rows, figures.todo) == (2 * CHANGED_EVERY, 2)
    assert (figures.source_mb > 0) == (origin != "listing")
