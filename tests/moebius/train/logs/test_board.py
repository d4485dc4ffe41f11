import csv

import pytest

from moebius.train.loop import train
from moebius.train.settings import TrainSettings
from moebius.train.tasks.build import build_task


def test_tensorboard_reads_the_rows_of_the_log_and_the_grid(packed_photos, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    settings = TrainSettings(
        mode="vae",
        photos=str(packed_photos),
        folder=str(tmp_path),
        steps=4,
        batch_size=2,
        log_every=2,
        tensorboard=True,
    )
    train(build_task(settings), settings)
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    with (tmp_path / "losses.csv").open() as file:
        rows = [(int(row["step"]), pytest.approx(float(row["total"]), rel=1e-6)) for row in csv.DictReader(file)]
    assert [(event.step, event.value) for event in events.Scalars("total")] == rows
    assert [event.step for event in events.Images("grid")] == [4]
