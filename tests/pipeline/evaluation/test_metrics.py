import numpy as np
import pytest
from scipy import ndimage

from pipeline.evaluation.metrics import psnr, ssim, texture_distance
from tests.conftest import textured


@pytest.fixture
def pair():
    truth = textured(90, 120)
    mask = np.zeros((90, 120), bool)
    mask[30:60, 40:90] = True
    filled = truth.copy()
    filled[mask] = np.clip(filled[mask] + np.random.default_rng(1).normal(5, 20, (mask.sum(), 3)), 0, 255)
    return truth, filled, mask


def test_psnr_is_that_of_its_definition(pair):
    truth, filled, mask = pair
    error = np.mean((truth[mask].astype(float) - filled[mask]) ** 2)
    assert psnr(truth, filled, mask) == pytest.approx(10 * np.log10(255**2 / error))
    assert psnr(truth, truth, mask) == np.inf


def test_ssim_is_that_of_its_definition(pair):
    truth, filled, mask = pair
    maps = []
    for channel in range(3):
        x, y = truth[..., channel].astype(float), filled[..., channel].astype(float)

        def mean(values):
            return ndimage.gaussian_filter(values, 1.5, truncate=3.5)

        covariance = mean(x * y) - mean(x) * mean(y)
        variances = mean(x * x) - mean(x) ** 2 + mean(y * y) - mean(y) ** 2
        brightness = (2 * mean(x) * mean(y) + 2.55**2) / (mean(x) ** 2 + mean(y) ** 2 + 2.55**2)
        maps.append(brightness * (2 * covariance + 7.65**2) / (variances + 7.65**2))
    assert ssim(truth, filled, mask) == pytest.approx(np.mean(maps, axis=0)[mask].mean(), abs=1e-6)
    assert ssim(truth, truth, mask) == pytest.approx(1)


def test_texture_distance_punishes_blur_that_psnr_rewards(pair):
    truth, _, mask = pair
    noise = np.random.default_rng(2).normal(0, 20, truth.shape)
    grainy = np.clip(128 + noise, 0, 255).astype(np.uint8)
    other_grain = np.clip(128 + np.roll(noise, 7, axis=0), 0, 255).astype(np.uint8)
    blurred = np.full_like(grainy, 128)
    assert psnr(grainy, blurred, mask) > psnr(grainy, other_grain, mask)
    assert texture_distance(grainy, blurred, mask) > 2 * texture_distance(grainy, other_grain, mask)
    assert texture_distance(grainy, grainy, mask) == 0
    assert 0 < texture_distance(grainy, blurred, mask) < 1


def test_texture_distance_tells_directions_apart():
    rows, columns = np.mgrid[0:96, 0:96]
    across, down = (np.repeat((128 + 60 * np.sin(axis / 2))[..., None], 3, axis=2) for axis in (columns, rows))
    mask = np.zeros((96, 96), bool)
    mask[32:64, 32:64] = True
    shifted = np.roll(across, 3, axis=1)
    stripes = [photo.astype(np.uint8) for photo in (across, shifted, down)]
    assert texture_distance(stripes[0], stripes[2], mask) > 5 * texture_distance(stripes[0], stripes[1], mask)
