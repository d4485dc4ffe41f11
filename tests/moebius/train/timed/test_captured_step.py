import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from moebius.network.config import MoebiusConfig
from moebius.train.data.batches import noisy_batch
from moebius.train.optimization.optimizers import Optimizers
from moebius.train.settings import TrainSettings
from moebius.train.tasks.denoising import fresh_denoiser, noise_losses
from moebius.train.timed.captured_step import DenoiserStep

CONFIG = MoebiusConfig(
    channels=(32, 64), heads=4, image_size=64, category_width=16, context_width=16, local_window=3, latent_channels=8
)
SETTINGS = TrainSettings(photos="-", vae="-", batch_size=4, learning_rate=2e-3, warmup_steps=0, noise_cap=40)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return fresh_denoiser(CONFIG)


def batch(seed):
    rng = np.random.default_rng(seed)
    clean, masked = torch.from_numpy(rng.standard_normal((2, 4, 8, 8, 8))).float()
    masks = torch.from_numpy(rng.random((4, 1, 8, 8)) < 0.5).float()
    return noisy_batch(clean, masked, masks, 0.1, rng, uniform_times=True)


def test_steps_at_a_share_of_the_rate_are_those_of_the_optimizers_at_that_rate(model):
    other = copy.deepcopy(model).train()
    step = DenoiserStep(model, SETTINGS, batch(0), bf16=False, channels_last=False)
    slower = replace(SETTINGS, learning_rate=0.3 * SETTINGS.learning_rate)
    optimizers = Optimizers(other, slower, muon=True)
    for index in range(3):
        step(batch(index), 0.3)
        drawn = batch(index)
        losses = noise_losses(other(drawn.inputs, drawn.timesteps, drawn.category_ids), drawn, 40, 1.0)
        losses["total"].backward()
        norm = optimizers.step(index)
        near = 1e-2 if index else 1e-5  # Muon's bf16 enlarges differences of rounding
        assert float(step.loss) == pytest.approx(float(losses["total"].detach()), rel=near)
        assert float(step.hole_loss) == pytest.approx(float(losses["hole"]), rel=near)
        assert float(step.norm) == pytest.approx(norm, rel=near)
        for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
            difference = (ours - theirs).abs().max() / (0.3 * SETTINGS.learning_rate)
            assert float(difference) < (2 if index else 0.02)


def test_a_step_at_no_rate_moves_no_parameter_and_a_restart_forgets_all(model):
    start = copy.deepcopy(model.state_dict())
    step = DenoiserStep(model, SETTINGS, batch(0), bf16=False, channels_last=True)
    step(batch(0), 0.0)
    assert all(torch.equal(value, start[name]) for name, value in model.named_parameters())
    step(batch(0), 1.0)
    moved = {name: value.clone() for name, value in model.named_parameters()}
    assert not any(torch.equal(value, start[name]) for name, value in moved.items() if value.ndim > 1)
    step.restart(start)
    step(batch(0), 1.0)
    step.restart(start)
    first = DenoiserStep(copy.deepcopy(model), SETTINGS, batch(0), bf16=False, channels_last=True)
    step(batch(1), 1.0)
    first(batch(1), 1.0)
    for ours, theirs in zip(model.parameters(), first.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_there_is_no_graph_on_a_cpu(model):
    step = DenoiserStep(model, SETTINGS, batch(0), bf16=True, channels_last=True)
    assert not step.capture() and step.replay is None
    step(batch(0), 1.0)
    assert step.loss.isfinite()
