import numpy as np
import pytest
import torch

from moebius.autoencoder.small import SmallAutoencoder, SmallAutoencoderConfig
from moebius.train.data.cached_latents import CachedLatents
from moebius.train.photos import PhotoCrops


@pytest.fixture
def new_cache(packed_photos):
    torch.manual_seed(0)
    vae = SmallAutoencoder(SmallAutoencoderConfig((8, 8, 16), (1, 1, 1), (1, 1, 1), 6)).eval().requires_grad_(False)
    vae.posterior.bias[6:] = -20  # latents that are sure, so that two encodings can be compared
    return lambda: CachedLatents(vae, PhotoCrops(packed_photos, 64), count=24, latent_size=8, seed=3)


def test_a_pair_does_not_depend_on_when_it_was_drawn(new_cache):
    early, late = new_cache(), new_cache()
    first = early.draw(200, np.random.default_rng(0))
    for seed in range(1, 5):
        late.draw(3, np.random.default_rng(seed))
    again = late.draw(200, np.random.default_rng(0))
    assert early.known.all()
    for ours, theirs in zip(first, again, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-3)  # float16, and batches of other sizes


def test_latents_differ_only_about_the_hole(new_cache):
    clean, masked, masks = new_cache().draw(200, np.random.default_rng(0))
    assert clean.shape == masked.shape == (200, 6, 8, 8) and masks.shape == (200, 1, 8, 8)
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    far = torch.nn.functional.max_pool2d(masks, 9, stride=1, padding=4) == 0  # beyond the reach of the convolutions
    difference = (clean - masked).abs().amax(dim=1, keepdim=True)
    assert far.any() and difference[masks == 1].mean() > 10 * difference[far].mean()
