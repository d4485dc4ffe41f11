import csv
import signal
import subprocess
import sys

import numpy as np
import pytest
import ray
import s3fs
import yaml
from PIL import Image

from moebius.checkpoint import read_checkpoint
from moebius.train.photos import PhotosError, list_photos, pack_photos
from pipeline.config.mask import MaskConfig
from pipeline.config.source import SourceConfig
from pipeline.errors import ConfigError
from pipeline.storage.storage import Storage
from pipeline.training.config import TrainingConfig
from pipeline.training.run import run_training, takes_gpus
from pipeline.training.stream import StreamedSource
from tests.conftest import ROOT, textured

KILLED_RUN = """
import os, signal, sys
from jobs.distill import main
from pipeline.training.stream import StreamedSource
take = StreamedSource.batch

def until_killed(source, batch_index, count):
    if batch_index == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    return take(source, batch_index, count)

StreamedSource.batch = until_killed
sys.exit(main(sys.argv[2:]))
"""


def test_no_process_is_refused():
    with pytest.raises(ValueError, match="processes must be at least 1, got 0"):
        TrainingConfig(mode="vae", photos="photos.npz", processes=0)


def _config(folder, vae, source, **given):
    return {
        "source": source,
        "init": str(vae.parent),
        "vae": str(vae),
        "folder": str(folder),
        "steps": 9,
        "batch_size": 3,
        "shuffle": 20,
        "checkpoint_every": 3,
        "log_every": 1,
        "masks": ["boxes"],
        **given,
    }


def _losses(folder):
    with (folder / "losses.csv").open() as file:
        return {int(row["step"]): float(row["total"]) for row in csv.DictReader(file)}


class _KilledError(Exception):
    pass


def test_a_streamed_run_that_was_interrupted_takes_the_same_steps(sources, tiny_weights, tmp_path, monkeypatch):
    source = SourceConfig(format="webdataset", uri=str(sources["webdataset"]))
    configs = {
        name: TrainingConfig(**_config(tmp_path / name, tiny_weights / "vae", source)) for name in ("whole", "broken")
    }
    run_training(configs["whole"])
    take = StreamedSource.batch

    def interrupted(source, index, count):
        if index == 7:
            raise _KilledError
        return take(source, index, count)

    with monkeypatch.context() as patch, pytest.raises(_KilledError):
        patch.setattr(StreamedSource, "batch", interrupted)
        run_training(configs["broken"])
    assert max(_losses(tmp_path / "broken")) == 7
    run_training(configs["broken"])
    assert _losses(tmp_path / "broken") == pytest.approx(_losses(tmp_path / "whole"), rel=1e-6)


@pytest.mark.slow
def test_a_run_that_was_killed_while_it_streamed_from_s3_takes_the_same_steps(
    sources, tiny_weights, tmp_path, s3_server
):
    bucket = s3fs.S3FileSystem(**s3_server)
    bucket.put(f"{sources['webdataset']}/", "bucket/stream/", recursive=True)
    source = {"format": "webdataset", "uri": "s3://bucket/stream/"}

    def run(name, killed_at=-1):
        config = tmp_path / f"{name}.yaml"
        content = _config(tmp_path / name, tiny_weights / "vae", source, steps=12, checkpoint_every=4)
        config.write_text(yaml.safe_dump({"mode": "diffusion", "storage": s3_server, **content}))
        command = [sys.executable, "-c", KILLED_RUN, str(killed_at), str(config)]
        return subprocess.run(command, cwd=ROOT, check=False).returncode

    assert run("whole") == 0
    assert run("killed", 6) == -signal.SIGKILL
    assert max(_losses(tmp_path / "killed")) == 6
    assert run("killed") == 0
    assert _losses(tmp_path / "killed") == pytest.approx(_losses(tmp_path / "whole"), rel=1e-5)
    assert len(_losses(tmp_path / "whole")) == 12


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"photos": "photos.npz"}, "photos and source exclude each other"),
        ({"cached": 10}, "set both or none"),
        ({"cached": 10, "latents": "out"}, "latents have no meaning for mode vae"),
        ({"source": None, "photos": "photos.npz", "latents": "out"}, "latents needs source"),
        ({"source": None, "photos": "photos.npz", "mask": MaskConfig(kind="alpha")}, "mask needs source"),
        ({"mask": MaskConfig(kind="text")}, "mask.kind must be one of member, column, paired to train, got text"),
        ({"mask": MaskConfig(kind="paired")}, "mask.kind=paired needs mask.template"),
        ({"mask": MaskConfig(kind="member")}, "mask.kind=member"),
        ({"shuffle": 0}, "shuffle must be at least 1, got 0"),
        ({"object_share": 2.0}, "object_share must be in 0 … 1"),
        ({"source": SourceConfig(format="list", uri="a.csv")}, "source.format must be images, webdataset or parquet"),
    ],
)
def test_a_source_that_cannot_be_trained_on_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**{"mode": "vae", "source": SourceConfig(), **given})


def test_a_run_on_latents_encodes_them_once(sources, tiny_weights, tmp_path, s3_server, caplog):
    source = SourceConfig(format="images", uri=str(sources["images"]))

    def run(name):
        given = {"cached": 12, "latents": "s3://bucket/latents/", "storage": s3_server, "steps": 6}
        run_training(TrainingConfig(**_config(tmp_path / name, tiny_weights / "vae", source, **given)))
        return _losses(tmp_path / name)

    with caplog.at_level("INFO"):
        first, second = run("a"), run("b")
    assert caplog.text.count("latents: 12 of 12 pairs are encoded") == 1
    assert first == pytest.approx(second, rel=1e-6) and len(first) == 6


def test_a_run_whose_folder_is_on_s3_resumes_from_there(sources, tiny_weights, tmp_path, s3_server):
    source = SourceConfig(format="webdataset", uri=str(sources["webdataset"]))

    def run(folder, steps):
        given = _config(folder, tiny_weights / "vae", source, storage=s3_server, steps=steps)
        run_training(TrainingConfig(**given))

    remote = Storage("s3://bucket/resumed", s3_server)
    run("s3://bucket/resumed", 3)
    run("s3://bucket/resumed", 6)
    run(tmp_path / "local", 6)
    (tmp_path / "losses.csv").write_bytes(remote.read("losses.csv"))
    assert _losses(tmp_path) == pytest.approx(_losses(tmp_path / "local"), rel=1e-6)
    names = {file.key for file in remote.list_files()}
    assert {"checkpoint.pt", "training.html", "grid.png", "config.json", "diffusion_pytorch_model.safetensors"} <= names


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
@pytest.mark.timeout(1800)  # three runs, each of which starts processes that import PyTorch
def test_processes_of_ray_train_stream_photos_of_their_own_and_resume(sources, tiny_weights, tmp_path):
    pytest.importorskip("pydantic", reason="ray[train] is an extra")
    source = SourceConfig(format="parquet", uri=str(sources["parquet"]), key="name")

    def run(name, steps, processes):
        given = _config(tmp_path / name, tiny_weights / "vae", source, steps=steps, processes=processes)
        run_training(TrainingConfig(**given))
        return _losses(tmp_path / name)

    ray.init(num_cpus=4, include_dashboard=False)  # two train, two decode
    try:
        whole = run("whole", 6, 2)
        run("broken", 3, 2)
        assert run("broken", 6, 2) == pytest.approx(whole, rel=1e-5)
        positions = read_checkpoint(tmp_path / "whole" / "checkpoint.pt")["positions"]
        assert [sum(position["offset"] for position in positions), len(positions)] == [2 * 6 * 3, 2]
    finally:
        ray.shutdown()


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
