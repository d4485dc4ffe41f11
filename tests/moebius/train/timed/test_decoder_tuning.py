import numpy as np
import pytest
import torch

from moebius.autoencoder.small import SmallAutoencoder, SmallAutoencoderConfig
from moebius.network.config import MoebiusConfig
from moebius.network.denoiser import Denoiser
from moebius.train.data.device_crops import DeviceCrops
from moebius.train.data.mask_bank import MaskBank, draw_masks
from moebius.train.losses.efficientnet_lite import LiteFeatures
from moebius.train.timed import decoder_tuning
from moebius.train.timed.decoder_losses import hole_mean, lattice_loss, sampled_loss
from moebius.train.timed.decoder_samples import DecoderPool, DecoderSamples
from moebius.train.timed.decoder_tuning import DecoderSettings, DecoderTuning, PatchDiscriminator
from tests.conftest import textured
from tests.moebius.train.timed.test_denoising import CountedClock

CPU = torch.device("cpu")
CONFIG = MoebiusConfig(
    channels=(32,), heads=4, image_size=64, category_width=16, context_width=16, local_window=3, latent_channels=8
)


@pytest.fixture
def samples():
    torch.manual_seed(0)
    vae = SmallAutoencoder(SmallAutoencoderConfig(scaling_factor=0.5)).eval().requires_grad_(False)
    crops = DeviceCrops([textured(80, 90, seed=1)], 64, CPU)
    return DecoderSamples(vae, crops, MaskBank(draw_masks(4, 64, seed=0), CPU), seed=0)


def test_pools_keep_the_newest_crops_with_their_colours(samples):
    pool = DecoderPool(12, CPU)
    samples.add_true(pool, 10)
    batch = pool.draw(64, torch.Generator().manual_seed(0))
    assert batch.images.shape == batch.colours.shape == (64, 3, 64, 64) and batch.latents.shape == (64, 8, 8, 8)
    known = (batch.holes == 0).expand_as(batch.images)
    torch.testing.assert_close(batch.colours[known], batch.images[known], rtol=0, atol=2e-3)
    alone = batch.holes.mean(dim=(1, 2, 3)) == 1
    assert 0 < alone.sum() < 20 and (batch.colours[alone] == 0).all()
    before = [part.clone() for part in pool.kept]
    samples.add_true(pool, 4)
    assert pool.added == 14 and all(torch.equal(a[2:10], b[2:10]) for a, b in zip(before, pool.kept, strict=True))


def test_sampled_latents_are_those_of_the_denoiser_as_the_decoder_takes_them(samples):
    torch.manual_seed(0)
    denoiser, pool = Denoiser(CONFIG).eval().requires_grad_(False), DecoderPool(8, CPU)
    seen = []
    denoiser.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    samples.add_sampled(pool, denoiser, 8)
    assert pool.added == 8 and len(seen) == 19 + 9
    inputs, noise = seen[18]  # the last step of DDIM, at timestep 0
    alpha = 1 - 0.00085
    clean = (inputs[:, :8] - (1 - alpha) ** 0.5 * noise) / alpha**0.5
    torch.testing.assert_close(pool.kept[3][:4].float(), clean / 0.5, rtol=5e-3, atol=5e-3)


def test_tuning_moves_the_decoder_and_not_the_encoder_and_uses_its_time(samples, monkeypatch):
    monkeypatch.setattr(decoder_tuning, "EMA_EVERY", 1)
    monkeypatch.setattr(decoder_tuning, "REFILL_STEPS", 2)
    monkeypatch.setattr(decoder_tuning, "ADVERSARIAL_FROM", 0.3)
    vae, sampled = samples.vae, DecoderPool(4, CPU)
    samples.add_sampled(sampled, Denoiser(CONFIG).eval(), 4)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    tuning = DecoderTuning(vae, LiteFeatures().eval().requires_grad_(False), DecoderSettings(batch_size=4), seed=0)
    saved = []
    state, rows = tuning.run(samples, sampled, CountedClock(20), 0.0, saved.append)
    assert len(rows) == len(saved) == 4  # of five looks each
    assert "critic" not in rows[0] and {"critic", "adversarial", "features"} <= rows[-1].keys()
    changed = {name for name, value in state.items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("decoder.") for name in changed)


def test_the_first_steps_of_tuning_reduce_the_loss(samples):
    pool, settings = DecoderPool(8, CPU), DecoderSettings(batch_size=8)
    samples.add_true(pool, 8)
    batch = pool.draw(4, torch.Generator().manual_seed(0))
    tuning = DecoderTuning(samples.vae, LiteFeatures().eval().requires_grad_(False), settings, seed=0)
    losses = [float(tuning.step(batch, batch, 1.0, False)["total"]) for _ in range(12)]
    assert losses[-1] < 0.9 * losses[0]


def test_the_discriminator_learns_to_tell_fills_in_holes_from_photos(samples):
    tuning = DecoderTuning(samples.vae, LiteFeatures().eval(), DecoderSettings(learning_rate=2e-2), seed=0)
    images, holes = samples.crops.draw(4, samples.generator), torch.zeros(4, 1, 64, 64)
    holes[..., 16:48, 16:48] = 1
    pasted = images * (1 - holes)
    losses = [float(tuning._train_critic(images, pasted, holes, 1.0)) for _ in range(30)]
    assert losses[0] > 1.5 and losses[-1] < 1


def test_features_see_crops_at_changing_offsets(samples):
    pool, seen = DecoderPool(4, CPU), []
    samples.add_true(pool, 4)
    batch = pool.draw(2, torch.Generator().manual_seed(0))
    tuning = DecoderTuning(samples.vae, LiteFeatures().eval().requires_grad_(False), DecoderSettings(), seed=0)
    tuning.features.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for _ in range(6):
        tuning.step(batch, batch, 1.0, True)
    windows = torch.cat([batch.images, batch.images]).unfold(2, 57, 1).unfold(3, 57, 1)
    truths = [next(o for o in np.ndindex(8, 8) if torch.equal(windows[:, :, *o], images)) for images in seen[::2]]
    assert len(set(truths)) > 3


def test_means_are_over_holes_only():
    values, holes = torch.arange(4.0).view(1, 1, 2, 2), torch.zeros(1, 1, 4, 4)
    holes[..., :2, 2:], holes[..., 2:, 3:] = 1, 1
    assert float(hole_mean(values, holes)) == pytest.approx((1 + 0.5 * 3) / 1.5)
    critic = PatchDiscriminator()
    assert critic(torch.zeros(1, 3, 64, 64)).shape == (1, 1, 8, 8)
    assert 160_000 < sum(p.numel() for p in critic.parameters()) < 175_000


def test_sampled_latents_are_compared_by_means(samples):
    pool = DecoderPool(4, CPU)
    samples.add_true(pool, 4)
    batch = pool.draw(4, torch.Generator().manual_seed(0))
    checkered = torch.from_numpy(np.indices((64, 64)).sum(axis=0) % 2 * 2.0 - 1).float()
    whole = batch.holes.new_ones(batch.holes.shape)
    batch = decoder_tuning.DecoderBatch(batch.images, whole, batch.colours, batch.latents)
    assert sampled_loss(batch.images + 0.3 * checkered, batch) < 1e-6
    assert float(sampled_loss(batch.images + 0.3, batch)) == pytest.approx(0.3, rel=1e-3)


def test_a_lattice_in_a_hole_is_told_from_texture_and_from_what_the_photo_has():
    generator = torch.Generator().manual_seed(0)
    images, holes = 0.1 * torch.rand(2, 3, 64, 64, generator=generator), torch.zeros(2, 1, 64, 64)
    holes[0, :, 12:52, 12:52] = holes[1, :, 8:16, 8:24] = 1  # four by four cells, and two
    dots = torch.zeros(64, 64)
    dots[3::8, 3::8] = 1
    texture = 0.1 * torch.rand(2, 3, 64, 64, generator=generator)
    assert lattice_loss(images, images, holes) == 0
    assert lattice_loss(images + 0.5 * dots, images, holes) > 4 * lattice_loss(texture, images, holes)
    assert lattice_loss(images + 0.5 * dots, images + 0.5 * dots, holes) == 0
    assert lattice_loss(images + 0.5 * dots, images, holes * torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)) == 0
    assert lattice_loss((images + 0.5 * dots) * holes[:1], images * holes[:1], 1 - holes[:1]) == 0


def test_pixels_of_sampled_latents_are_compared_near_known_ones_alone():
    images, holes = torch.zeros(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    holes[..., 16:48, 16:48] = 1
    batch = decoder_tuning.DecoderBatch(images, holes, images, images)
    checkered = torch.from_numpy(np.indices((64, 64)).sum(axis=0) % 2 * 2.0 - 1).float()
    deep, near = torch.zeros(64, 64), torch.zeros(64, 64)
    deep[20:44, 20:44] = near[16:18, 16:48] = 1
    assert sampled_loss(checkered * deep * images.new_ones(1, 3, 1, 1), batch) < 1e-6
    assert sampled_loss(checkered * near * images.new_ones(1, 3, 1, 1), batch) > 0.1
