import csv

import pytest
import torch

from moebius.autoencoder.small import SmallAutoencoder, SmallAutoencoderConfig
from moebius.checkpoint import CheckpointError
from moebius.train.loop import VALIDATION, train
from moebius.train.optimization import optimizers
from moebius.train.settings import TrainSettings
from moebius.train.tasks import denoising
from moebius.train.tasks.build import build_task
from moebius.train.tasks.teacher import FILE
from moebius.train.teacher import Teacher, load_teacher


@pytest.fixture(scope="module")
def trained(packed_photos, tmp_path_factory):
    """Settings of a teacher that took two steps, measured after each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(denoising, "GRID_STEPS", 1)
        patch.setattr(denoising, "VALIDATION_PAIRS", 16)
        patch.setattr(optimizers, "takes_muon", lambda name, parameter: False)  # minutes, where bf16 is emulated
        yield _train_teacher(packed_photos, tmp_path_factory)


def _train_teacher(packed_photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    torch.manual_seed(0)
    SmallAutoencoder(SmallAutoencoderConfig((8, 8, 16), (1, 1, 1), (1, 1, 1), 8)).save_pretrained(folder / "vae")
    settings = TrainSettings(
        mode="teacher",
        photos=str(packed_photos),
        held_out=str(packed_photos),
        vae=str(folder / "vae"),
        folder=str(folder),
        image_size=64,
        steps=2,
        batch_size=2,
        checkpoint_every=1,
        log_every=1,
    )
    train(build_task(settings), settings)
    return settings


def _distilled(settings, teacher):
    return TrainSettings(
        mode="distil",
        photos=settings.photos,
        vae=settings.vae,
        folder=f"{settings.folder}/student",
        teacher=str(teacher),
        image_size=64,
        batch_size=2,
    )


def test_a_small_teacher_trains_and_a_student_of_its_latents_learns_from_it(trained):
    teacher = load_teacher(f"{trained.folder}/{FILE}")
    assert teacher.latent_channels == 8
    task = build_task(_distilled(trained, f"{trained.folder}/{FILE}"))
    losses = task.losses(0)
    losses["total"].backward()
    assert float(losses["coarse"].detach()) > 0 and float(losses["fine"].detach()) > 0
    assert all(parameter.grad is not None for name, parameter in task.model.named_parameters() if "conv_out" in name)


def test_a_teacher_of_other_latents_is_refused(trained, tmp_path):
    torch.save(Teacher((32, 32, 32, 32), 16, 16).state_dict(), tmp_path / "teacher.bin")
    with pytest.raises(CheckpointError, match="latents of 4 channels and 20 categories, the denoiser of 8 and 20"):
        build_task(_distilled(trained, tmp_path / "teacher.bin"))


def test_each_checkpoint_is_measured_on_the_same_draws_of_held_out_photos(trained):
    with open(f"{trained.folder}/{VALIDATION}") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["0", "1", "2"]  # the first before training
    assert all(0 < float(row[name]) < 5 for row in rows for name in ("held_out_noise", "held_out_hole"))
    task, state = build_task(trained), load_teacher(f"{trained.folder}/{FILE}").state_dict()
    figures = {f"held_out_{name}": value for name, value in task.validate(state).items()}
    assert figures == {name: float(rows[-1][name]) for name in figures} and len(figures) == 2
