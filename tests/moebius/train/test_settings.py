"""What a training run refuses before it starts."""

import sys

import pytest

from moebius.train.optimization.devices import DeviceError, choose_device
from moebius.train.settings import TrainSettings


@pytest.mark.parametrize(
    "field",
    [
        {"learning_rate": -1.0},
        {"learning_rate": float("nan")},
        {"warmup_steps": -5},
        {"weight_decay": -0.1},
        {"clip_norm": 0.0},
        {"seed": -1},
        {"accumulate": 0},
        {"unconditional": 1.5},
        {"decay_steps": (100, 0)},
        {"decay_steps": 5},
    ],
)
def test_value_out_of_range_names_its_key(field):
    with pytest.raises(ValueError, match=f"^{next(iter(field))} must be"):
        TrainSettings(mode="vae", photos="photos.npz", **field)


@pytest.mark.parametrize("mode", ["teacher", "distil"])
def test_teacher_without_diffusers_names_the_extra(mode, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ValueError, match=rf"^mode {mode} needs diffusers: pip install .*\[train\]"):
        TrainSettings(mode=mode, photos="photos.npz", vae="vae", teacher="teacher.bin")


def test_published_weights_are_fine_tuned_without_unconditional_samples_unless_asked_for():
    shares = [
        TrainSettings(photos="photos.npz", vae="vae", **given).unconditional_share
        for given in ({}, {"init": "pretrained"}, {"init": "pretrained", "unconditional": 0.2}, {"unconditional": 0.0})
    ]
    assert shares == [0.1, 0.0, 0.2, 0.0]


def test_device_that_is_not_there_is_named():
    with pytest.raises(DeviceError, match="got abacus"):
        choose_device("abacus")
    assert choose_device("cpu").type == "cpu"
