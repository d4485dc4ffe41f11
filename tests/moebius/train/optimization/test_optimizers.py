from dataclasses import replace

import pytest
import torch
from torch import nn

from moebius.network.denoiser import Denoiser
from moebius.train.optimization.ema import Ema
from moebius.train.optimization.optimizers import Optimizers, learning_rate, takes_muon
from moebius.train.settings import TrainSettings
from tests.conftest import TINY


def test_muon_takes_the_inner_matrices_only():
    chosen = {name for name, parameter in Denoiser(TINY).named_parameters() if takes_muon(name, parameter)}
    assert "down_levels.0.residuals.0.conv_in.pointwise.weight" in chosen and "time.linear_in.weight" in chosen
    assert not [name for name in chosen if name.startswith(("conv_in", "conv_out", "categories"))]
    assert {"position", "table", "depthwise"} <= {part for name in chosen for part in name.split(".")}
    assert not [name for name in chosen if name.endswith("bias")]


def test_a_step_of_muon_moves_filters_by_the_stated_size():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(32, 64, 1, bias=False))
    before = model[0].weight.detach().clone()
    settings = TrainSettings(mode="vae", photos="none", learning_rate=1e-2, warmup_steps=0, weight_decay=0.0)
    optimizers = Optimizers(model, settings, muon=True)
    model[0].weight.grad = torch.randn_like(before)
    optimizers.step(0)
    moved = (model[0].weight - before).detach().flatten(1)
    singular = torch.linalg.svdvals(moved) / (1e-2 * 0.2 * 64**0.5)
    assert singular.min() > 0.6 and singular.max() < 1.3  # five Newton–Schulz steps make singular values about 1


@pytest.mark.parametrize(("shape", "largest"), [((32, 16, 3, 3), 32), ((32, 1, 3, 3), 32), ((20, 10, 8, 1), 20)])
def test_a_step_of_muon_goes_by_the_first_two_sizes_of_a_filter(shape, largest):
    torch.manual_seed(0)
    model = nn.Module()
    model.weight = nn.Parameter(torch.randn(shape))
    before = model.weight.detach().clone()
    settings = TrainSettings(mode="vae", photos="none", learning_rate=1e-2, warmup_steps=0, weight_decay=0.1)
    optimizers = Optimizers(model, settings, muon=True)
    model.weight.grad = torch.randn(shape)
    optimizers.step(0)
    moved = (model.weight - (1 - 1e-2 * 0.1) * before).detach().flatten(1)  # the decay does not depend on the shape
    singular = torch.linalg.svdvals(moved) / (1e-2 * 0.2 * largest**0.5)
    assert singular.min() > 0.6 and singular.max() < 1.3


def test_vectors_decay_like_matrices():
    model = nn.LayerNorm(8)
    settings = TrainSettings(mode="vae", photos="none", learning_rate=1e-2, warmup_steps=0, weight_decay=0.5)
    optimizers = Optimizers(model, settings, muon=False)
    model.weight.grad, model.bias.grad = torch.zeros(8), torch.zeros(8)
    optimizers.step(0)
    assert model.weight.detach().numpy() == pytest.approx(1 - 1e-2 * 0.5)


def test_a_gradient_that_is_not_a_number_stops_the_run():
    model = nn.Linear(2, 2)
    model.weight.grad = torch.full((2, 2), torch.nan)
    with pytest.raises(FloatingPointError, match="the gradient at step 0 is nan: lower the learning_rate"):
        Optimizers(model, TrainSettings(mode="vae", photos="none"), muon=False).step(0)


def test_the_rate_warms_up_and_steps_down():
    settings = TrainSettings(mode="vae", photos="none", learning_rate=1.0, warmup_steps=4, decay_steps=(10, 20))
    assert [learning_rate(step, settings) for step in (0, 3, 9)] == [0.25, 1.0, 1.0]
    assert learning_rate(10, settings) == pytest.approx(0.1) and learning_rate(20, settings) == pytest.approx(0.01)


def test_averaged_weights_follow_with_a_decay_that_grows():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    ema = Ema(model, 0.9)
    nn.init.ones_(model.weight)
    ema.update(model, 0)
    assert float(ema.state["weight"]) == pytest.approx(0.9)  # decay 1/10
    ema.update(model, 10_000)
    assert float(ema.state["weight"]) == pytest.approx(0.91)  # decay 0.9


def test_a_run_that_goes_on_takes_the_decay_of_its_settings():
    settings = TrainSettings(mode="vae", photos="none", weight_decay=0.5)
    first, second = (Optimizers(Denoiser(TINY), replace(settings, weight_decay=decay), muon=True) for decay in (0.5, 0))
    second.load_state_dict(first.state_dict())
    assert {group["weight_decay"] for optimizer in second.optimizers for group in optimizer.param_groups} == {0}
