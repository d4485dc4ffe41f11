import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from moebius.checkpoint import CheckpointError
from moebius.network.published import published_name
from moebius.train.settings import TrainSettings
from moebius.train.tasks.build import build_task
from moebius.train.teacher import Teacher, load_teacher


def test_fine_tuning_starts_from_the_given_weights(tiny_weights, packed_photos):
    settings = TrainSettings(photos=str(packed_photos), vae=str(tiny_weights / "vae"), init=str(tiny_weights))
    model = build_task(settings).model
    given = load_file(tiny_weights / "diffusion_pytorch_model.safetensors")
    assert model.training and all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, given[published_name(name)]) for name, value in model.state_dict().items())
    assert json.loads((tiny_weights / "config.json").read_text())["image_size"] == model.config.image_size


def test_a_teacher_that_lacks_a_key_is_refused(packed_photos, tmp_path):
    state = Teacher((32, 32, 32, 32), 16, 16).state_dict()
    del state["diff_model.conv_out.bias"]
    save_file(state, tmp_path / "teacher.safetensors")
    settings = TrainSettings(
        mode="distil", photos=str(packed_photos), vae="none", teacher=str(tmp_path / "teacher.safetensors")
    )
    with pytest.raises(CheckpointError, match=r"conv_out\.bias"):
        build_task(settings)


def test_a_teacher_of_other_widths_is_refused_and_one_in_half_precision_computed_in_float32(packed_photos, tmp_path):
    teacher = Teacher((32, 32, 32, 64), 16, 16, latent_channels=8)
    halves = {key: value.half() for key, value in teacher.state_dict().items()}
    save_file(halves, tmp_path / "teacher.safetensors")
    settings = TrainSettings(
        mode="distil", photos=str(packed_photos), vae="none", teacher=str(tmp_path / "teacher.safetensors")
    )
    with pytest.raises(CheckpointError, match=r"as wide as the teacher's: got \(64, 128, 192\) and \(32, 32, 32, 64\)"):
        build_task(settings)
    loaded = load_teacher(tmp_path / "teacher.safetensors")
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
