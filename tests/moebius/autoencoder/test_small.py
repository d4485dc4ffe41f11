import json

import pytest
import torch
from skimage.restoration import inpaint_biharmonic

from moebius.autoencoder.colour_spread import smooth_colours, spread_colours
from moebius.autoencoder.small import SMOOTHING_STEPS, SmallAutoencoder, SmallAutoencoderConfig
from moebius.autoencoder.vae import decode, encode, load_vae
from moebius.checkpoint import CheckpointError
from tests.conftest import textured


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


def lines(height: int, width: int) -> torch.Tensor:
    """Holes as thin as letters, (1, 1, H, W)."""
    holes = torch.zeros(1, 1, height, width)
    holes[..., 6:-6:9, 4:-4] = holes[..., 7:-5:9, 4:-4] = holes[..., 5:-5, 20:23] = 1
    return holes


def test_smoothed_colours_are_those_of_a_biharmonic_fill_in_thin_holes():
    image = textured(64, 96)
    holes, levels = lines(64, 96), torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1
    spread = spread_colours(levels * (1 - holes), holes)
    smoothed = smooth_colours(spread, holes, SMOOTHING_STEPS)
    expected = inpaint_biharmonic(image, holes[0, 0].numpy() > 0, channel_axis=-1)
    expected = torch.from_numpy(expected).permute(2, 0, 1)[None].clamp(0, 1) * 2 - 1
    away = [float((colours - expected).abs()[(holes > 0).expand_as(levels)].mean()) for colours in (spread, smoothed)]
    assert away[0] > 3 / 255 and away[1] < 1 / 255
    assert torch.equal(smoothed[(holes == 0).expand_as(levels)], levels[(holes == 0).expand_as(levels)])


def test_smoothed_colours_that_would_leave_the_range_are_cut():
    across = torch.arange(48.0).expand(1, 3, 32, 48)
    peak = 1.1 - 0.01 * (across - 24).square()
    holes = (peak[:, :1] > 0.97).float()
    spread = spread_colours(peak.clamp(-1, 1) * (1 - holes), holes)
    assert spread.max() < 1 and smooth_colours(spread, holes, SMOOTHING_STEPS).max() == 1


def test_smoothed_colours_depend_on_no_neighbour_in_the_batch():
    levels = torch.rand(3, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    holes = torch.stack([lines(32, 48)[0], torch.ones(1, 32, 48), torch.zeros(1, 32, 48)])
    spread = spread_colours(levels * (1 - holes), holes)
    smoothed = smooth_colours(spread, holes, SMOOTHING_STEPS)
    assert smoothed[1].abs().max() == 0
    torch.testing.assert_close(smoothed[2], levels[2])
    torch.testing.assert_close(smoothed[:1], smooth_colours(spread[:1], holes[:1], SMOOTHING_STEPS))


def test_the_decoder_corrects_smoothed_colours_only_where_the_configuration_says_so(folder):
    images, latents, holes = torch.rand(1, 3, 32, 48) * 2 - 1, torch.randn(1, 6, 4, 6), lines(32, 48)
    without = decode(load_vae(folder), latents, images * (1 - holes), holes)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"smoothing_steps": SMOOTHING_STEPS}))
    vae = load_vae(folder)
    assert not torch.allclose(decode(vae, latents, images * (1 - holes), holes), without)
    fields = json.loads(path.read_text())
    del fields["smoothing_steps"]  # as those have it that were written before there were any
    path.write_text(json.dumps(fields))
    assert torch.equal(decode(load_vae(folder), latents, images * (1 - holes), holes), without)


@pytest.mark.parametrize("change", [{"widths": [8, 8, 24]}, {"depth": 3}, {"widths": "many"}, {"smoothing_steps": "8"}])
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
