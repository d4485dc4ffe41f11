import numpy as np
import torch
from torch.nn import functional

from moebius.network.config import MoebiusConfig
from moebius.train.data.batches import noisy_batch
from moebius.train.tasks.denoising import fresh_denoiser, noise_losses

TINY = MoebiusConfig(channels=(32, 32), image_size=64, category_width=16, context_width=16)


def a_batch():
    generator = torch.Generator().manual_seed(0)
    clean, masked = torch.randn(2, 5, 4, 8, 8, generator=generator)
    masks = (torch.rand(5, 1, 8, 8, generator=generator) < 0.3).float()
    return noisy_batch(clean, masked, masks, 0.1, np.random.default_rng(1)), torch.randn(5, 4, 8, 8)


def test_without_weights_the_loss_is_the_published_one():
    batch, predicted = a_batch()
    losses = noise_losses(predicted, batch, noise_cap=0.0, known_weight=1.0)
    torch.testing.assert_close(losses["total"], functional.mse_loss(predicted, batch.noise))


def test_weights_of_holes_and_of_noise_are_as_described():
    batch, predicted = a_batch()
    losses = noise_losses(predicted, batch, noise_cap=10.0, known_weight=0.3)
    total = weights = hole = positions = 0.0
    for sample in range(5):
        alpha = float(batch.alphas[sample])
        for row in range(8):
            for column in range(8):
                error = float((predicted - batch.noise)[sample, :, row, column].square().mean())
                inside = bool(batch.inputs[sample, 4, row, column])
                weight = min(max((1 - alpha) / alpha, 0.5), 10) * (1 if inside else 0.3)
                total, weights = total + weight * error, weights + weight
                hole, positions = hole + inside * error, positions + inside
    assert abs(float(losses["total"]) - total / weights) < 1e-5
    assert abs(float(losses["hole"]) - hole / positions) < 1e-5


def test_a_fresh_denoiser_lets_negative_latents_pass_its_first_layer():
    torch.manual_seed(0)
    first = fresh_denoiser(TINY).train().conv_in
    passed = functional.relu(first.depthwise_norm(first.depthwise(torch.randn(4, 9, 8, 8))))
    assert (passed > 0).float().mean() > 0.999


def test_uniform_times_train_the_first_steps_of_sampling_as_often_as_any():
    latents, masks = torch.zeros(4000, 4, 1, 1), torch.zeros(4000, 1, 1, 1)
    shares = [
        float(
            (noisy_batch(latents, latents, masks, 0, np.random.default_rng(0), uniform).timesteps >= 900).float().mean()
        )
        for uniform in (True, False)
    ]
    assert abs(shares[0] - 0.1) < 0.02 and shares[1] < 0.03
