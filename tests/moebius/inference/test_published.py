"""Whole pictures of the published pipeline, by ``Inpainter.generate`` with its noise."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from moebius import Inpainter, InpaintSettings, MoebiusConfig, load_denoiser
from moebius.autoencoder.kl import KlAutoencoder
from moebius.bench.checkpoints import PUBLISHED_VAE
from moebius.sampling.sampler import ddim_sample
from moebius.weights.files import find_weights
from moebius.windows.seeds import window_seed
from tests.conftest import ROOT, fill, golden, golden_state_dict, textured

OFFSET = 0.0357
SETTINGS = {"steps": 4, "guidance": 2.5, "latent_mask": "nearest", "batch_size": 1}


def noise_of(channels, side):
    """What the published code draws from seed 0, in its order, as ``generate`` takes it."""
    generator = torch.Generator().manual_seed(0)
    image, masked, start = (torch.randn(1, channels, side, side, generator=generator) for _ in range(3))
    start = start + OFFSET * torch.randn(1, channels, 1, 1, generator=generator)
    return torch.stack([start, image, masked], dim=1)


def published_picture(denoiser, vae, photo, mask, noise):
    """The published pipeline, written down once more: encode twice, sample, decode."""

    def latents(images, posterior_noise):
        posterior = vae.encode(images).latent_dist
        return (posterior.mean + posterior.std * posterior_noise) * vae.config.scaling_factor

    image = torch.from_numpy(photo / 255 * 2 - 1).float().permute(2, 0, 1)[None]
    hole = torch.from_numpy(mask)[None, None].float()
    with torch.inference_mode():
        clean = ddim_sample(
            denoiser,
            latents(image, noise[:, 1]),
            functional.interpolate(hole, size=noise.shape[-2:], mode="nearest"),
            latents(image * (1 - hole), noise[:, 2]),
            steps=SETTINGS["steps"],
            guidance=SETTINGS["guidance"],
            strength=0.99,
            noise=noise[:, 0],
        )
        decoded = vae.decode(clean / vae.config.scaling_factor).sample
    picture = (decoded / 2 + 0.5).clamp(0, 1).double().numpy()
    return np.floor(255 * picture).astype(np.uint8)[0].transpose(1, 2, 0)


def agreement(ours, theirs):
    difference = np.abs(ours.astype(int) - theirs)
    return (difference == 0).mean(), difference.max()


@pytest.fixture
def small_case(tiny_weights):
    denoiser, vae = find_weights(str(tiny_weights)).load()
    mask = np.zeros((64, 64), bool)
    mask[20:43, 12:50] = True
    mask[3:5] = True  # between the pixels that nearest neighbour looks at
    return denoiser, vae, textured(64, 64), mask, noise_of(4, 8)


def test_picture_of_the_published_pipeline_is_reproduced(small_case, tiny_weights):
    denoiser, vae, photo, mask, noise = small_case
    expected = published_picture(denoiser, vae, photo, mask, noise)
    inpainter = Inpainter.from_pretrained(str(tiny_weights), InpaintSettings(**SETTINGS))
    (picture,) = inpainter.generate([photo], [mask], [0], noise=noise)
    equal, largest = agreement(picture, expected)
    assert equal >= 0.99 and largest <= 3
    (as_array,) = inpainter.generate([photo], [mask], [5], noise=noise.numpy())
    assert np.array_equal(as_array, picture)
    usual = Inpainter.from_pretrained(str(tiny_weights), InpaintSettings(**{**SETTINGS, "latent_mask": "any"}))
    assert agreement(usual.generate([photo], [mask], [0], noise=noise)[0], expected)[0] < 0.9
    noise[:, 0] -= OFFSET
    assert agreement(inpainter.generate([photo], [mask], [0], noise=noise)[0], expected)[0] < 0.9


def test_offset_is_drawn_from_the_window_s_seed_after_all_other_noise(tiny_weights):
    plain, offset = (
        Inpainter.from_pretrained(str(tiny_weights), InpaintSettings(noise_offset=deviation))
        for deviation in (0.0, OFFSET)
    )
    seed = window_seed(7, 0)
    added = offset._noise(seed) - plain._noise(seed)
    assert (added[1:] == 0).all()
    assert (added[0].std(dim=(1, 2)) < 1e-6).all() and 0.003 < added[0].mean(dim=(1, 2)).std() < 0.2
    assert torch.equal(offset._noise(seed), offset._noise(seed))


@pytest.mark.parametrize("shape", [(1, 3, 4, 8, 9), (2, 3, 4, 8, 8), (3, 4, 8, 8)])
def test_noise_of_another_shape_is_refused(shape, tiny_weights, small_case):
    _, _, photo, mask, _ = small_case
    inpainter = Inpainter.from_pretrained(str(tiny_weights), InpaintSettings(**SETTINGS))
    with pytest.raises(ValueError, match=r"noise must be \(1, 3, 4, 8, 8\), got"):
        inpainter.generate([photo], [mask], [0], noise=torch.zeros(shape))


def test_batches_of_unequal_lists_are_refused(tiny_weights):
    inpainter = Inpainter.from_pretrained(str(tiny_weights), InpaintSettings(**SETTINGS))
    with pytest.raises(ValueError, match="got 1 windows, 1 masks and 2 seeds"):
        inpainter.generate([textured(64, 64)], [np.ones((64, 64), bool)], [0, 1])


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_picture_of_the_published_size_is_reproduced():
    vae = KlAutoencoder(PUBLISHED_VAE)
    vae.load_state_dict({key: fill(key, value.shape) for key, value in vae.state_dict().items()})
    denoiser = load_denoiser(golden_state_dict("unet_full"), MoebiusConfig())
    inpainter = Inpainter(denoiser, vae.eval().requires_grad_(False), InpaintSettings(**SETTINGS), "cpu")
    beach = Image.open(ROOT / "tests" / "photos" / "images" / "beach.jpg").convert("RGB")
    photo = np.asarray(beach.resize((512, 512), Image.Resampling.BICUBIC))
    expected = golden("picture_full")  # of the mask the bits, of the picture every second pixel of every second row
    mask = np.unpackbits(expected["mask"].numpy()).reshape(512, 512).astype(bool)
    (picture,) = inpainter.generate([photo], [mask], [0], noise=noise_of(4, 64))
    equal, largest = agreement(picture[::2, ::2], expected["picture"].numpy())
    assert equal >= 0.99 and largest <= 3
