import csv
import sys

import numpy as np
import pytest
import ray
from PIL import Image

from moebius.train.photos import PhotosError, list_photos, pack_photos
from pipeline.errors import ConfigError
from pipeline.training import TrainingConfig, run_training, takes_gpus
from tests.conftest import textured


def test_no_process_is_refused():
    with pytest.raises(ValueError, match="processes must be at least 1, got 0"):
        TrainingConfig(mode="vae", photos="photos.npz", processes=0)


@pytest.mark.slow
def test_two_processes_of_ray_train_share_a_run(tmp_path, monkeypatch):
    pytest.importorskip("pydantic", reason="ray[train] is an extra")
    photo = tmp_path / "photo.png"
    Image.fromarray(textured(144, 144)).save(photo)
    pack_photos(list_photos(tmp_path), 128, tmp_path / "photos.npz")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", "local")  # no cluster that runs on this machine
    config = TrainingConfig(
        mode="vae", photos="photos.npz", folder="run", steps=2, batch_size=2, log_every=1, processes=2
    )
    run_training(config)
    with (tmp_path / "run" / "losses.csv").open() as file:
        losses = [float(row["total"]) for row in csv.DictReader(file)]
    assert len(losses) == 2 and np.isfinite(losses).all()


@pytest.mark.slow
def test_what_ends_a_process_of_ray_train_is_raised_as_it_is(tmp_path, monkeypatch):
    pytest.importorskip("pydantic", reason="ray[train] is an extra")
    monkeypatch.setenv("RAY_ADDRESS", "local")
    config = TrainingConfig(
        mode="vae", photos=str(tmp_path / "none.npz"), folder=str(tmp_path / "run"), batch_size=2, processes=2
    )
    with pytest.raises(PhotosError, match="holds no packed photos"):
        run_training(config)


@pytest.mark.parametrize(
    ("device", "gpus", "takes"), [("auto", 1, False), ("auto", 2, True), ("cuda", 0, True), ("cpu", 2, False)]
)
def test_processes_ask_ray_for_gpus_where_there_is_one_for_each(device, gpus, takes, monkeypatch):
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8.0, "GPU": float(gpus)})
    assert takes_gpus(TrainingConfig(mode="vae", photos="photos.npz", device=device, processes=2)) is takes


def test_several_processes_without_ray_train_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray.train.torch", None)
    with pytest.raises(ConfigError, match=r"processes=2 needs Ray Train: pip install"):
        run_training(TrainingConfig(mode="vae", photos="photos.npz", processes=2))
