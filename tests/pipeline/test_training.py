import csv
import sys

import numpy as np
import pytest
from PIL import Image

from moebius.train.photos import list_photos, pack_photos
from pipeline.errors import ConfigError
from pipeline.training import TrainingConfig, run_training
from tests.conftest import textured


def test_no_process_is_refused():
    with pytest.raises(ValueError, match="processes must be at least 1, got 0"):
        TrainingConfig(mode="vae", photos="photos.npz", processes=0)


@pytest.mark.slow
def test_two_processes_of_ray_train_share_a_run(tmp_path, monkeypatch):
    pytest.importorskip("pydantic", reason="ray[train] is an extra")
    photo = tmp_path / "photo.png"
    Image.fromarray(textured(96, 96)).save(photo)
    pack_photos(list_photos(tmp_path), 80, tmp_path / "photos.npz")
    monkeypatch.chdir(tmp_path)
    config = TrainingConfig(
        mode="vae", photos="photos.npz", folder="run", steps=2, batch_size=2, log_every=1, processes=2
    )
    run_training(config)
    with (tmp_path / "run" / "losses.csv").open() as file:
        losses = [float(row["total"]) for row in csv.DictReader(file)]
    assert len(losses) == 2 and np.isfinite(losses).all()


def test_several_processes_without_ray_train_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray.train.torch", None)
    with pytest.raises(ConfigError, match=r"processes=2 needs Ray Train: pip install"):
        run_training(TrainingConfig(mode="vae", photos="photos.npz", processes=2))
