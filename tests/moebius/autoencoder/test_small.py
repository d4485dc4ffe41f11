import json

import pytest
import torch

from moebius.autoencoder.colour_spread import spread_colours
from moebius.autoencoder.small import SmallAutoencoder, SmallAutoencoderConfig
from moebius.autoencoder.vae import decode, encode, load_vae
from moebius.checkpoint import CheckpointError


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    SmallAutoencoder(SmallAutoencoderConfig((8, 8, 16), (1, 1, 1), (1, 1, 1), 6, scaling_factor=2.0)).save_pretrained(
        tmp_path
    )
    return tmp_path


def test_what_was_saved_is_loaded_by_its_class_name_and_has_factor_eight(folder):
    vae = load_vae(folder)
    assert isinstance(vae, SmallAutoencoder) and not vae.training
    images = torch.rand(2, 3, 32, 48) * 2 - 1
    silent, noisy = (encode(vae, images, level * torch.ones(2, 6, 4, 6)) for level in (0, 1))
    posterior = vae.encode(images).latent_dist
    torch.testing.assert_close(silent, 2 * posterior.mean)
    torch.testing.assert_close(noisy - silent, 2 * posterior.logvar.exp().sqrt())
    torch.testing.assert_close(decode(vae, silent), vae.decode(posterior.mean).sample)
    assert decode(vae, silent).shape == images.shape


def test_the_decoder_is_shown_what_is_known_and_nothing_of_the_hole(folder):
    vae = load_vae(folder)
    images, latents = torch.rand(1, 3, 32, 32) * 2 - 1, torch.randn(1, 6, 4, 4)
    holes = torch.zeros(1, 1, 32, 32)
    holes[..., 8:24, 8:24] = 1
    beside = decode(vae, latents, images * (1 - holes), holes)
    assert not torch.allclose(beside, decode(vae, latents))
    everything = torch.ones_like(holes)
    torch.testing.assert_close(decode(vae, latents, images * 0, everything), decode(vae, latents))


def test_colours_spread_over_holes_are_encoded_and_nothing_that_was_there(folder):
    vae, images, noise = load_vae(folder), torch.rand(1, 3, 32, 32) * 2 - 1, torch.zeros(1, 6, 4, 4)
    holes = torch.zeros(1, 1, 32, 32)
    holes[..., 8:24, 8:24] = 1
    spread = encode(vae, spread_colours(images * (1 - holes), holes), noise)
    for inside in (0, 1, images):
        torch.testing.assert_close(encode(vae, images * (1 - holes) + inside * holes, noise, holes), spread)
    torch.testing.assert_close(encode(vae, images, noise, 0 * holes), encode(vae, images, noise))


def test_colours_are_spread_over_holes_and_kept_beside_them():
    holes = torch.zeros(1, 1, 32, 48)
    holes[..., 4:28, 10:40] = 1
    images = torch.linspace(-1, 1, 48).expand(1, 3, 32, 48)
    spread = spread_colours(images * (1 - holes), holes)
    known = (holes == 0).expand_as(images)
    assert torch.equal(spread[known], images[known])
    assert spread.min() >= -1 and spread.max() <= 1
    assert (spread - images).abs()[~known].mean() < 0.2 * images[~known].abs().mean()
    assert spread_colours(images * 0, torch.ones_like(holes)).abs().max() == 0


@pytest.mark.parametrize("change", [{"widths": [8, 8, 24]}, {"depth": 3}, {"widths": "many"}])
def test_configuration_that_does_not_fit_is_refused(folder, change):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=r"does not fit its config\.json"):
        load_vae(folder)


def test_weights_that_are_cut_short_are_refused(folder):
    path = folder / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CheckpointError):
        load_vae(folder)
