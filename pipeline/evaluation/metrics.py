"""Metrics of a filled photo against the true one, inside the hole."""

import numpy as np
from scipy import ndimage

from moebius.windows import Box

LUMA = (0.299, 0.587, 0.114)
SCALES = 3
ORIENTATIONS = 4
WAVELENGTH_PX = 4.0  # of the finest filters
SIGMA_ON_F = 0.65  # bandwidth: about 1.6 octaves
ENERGY_FLOOR = 2.0  # grey levels; below it no texture is told from noise
POOL = 1.0  # radius of the local mean over the wavelength


def psnr(truth: np.ndarray, filled: np.ndarray, mask: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB over the pixels of a hole, all channels alike.

    Args:
        truth, filled: (H, W, 3) uint8.
        mask: (H, W) bool, not empty.
    """
    from skimage.metrics import peak_signal_noise_ratio

    if np.array_equal(truth[mask], filled[mask]):
        return float("inf")
    return float(peak_signal_noise_ratio(truth[mask], filled[mask], data_range=255))


def ssim(truth: np.ndarray, filled: np.ndarray, mask: np.ndarray) -> float:
    """Structural similarity with a Gaussian window of σ 1.5, its map averaged over a hole; arguments as above.

    Source: Wang et al. 2004; pixels around the hole reach into the windows of those at its border.
    """
    from skimage.metrics import structural_similarity

    if min(mask.shape) < 11:
        raise ValueError(f"photos must be at least 11 px, the window of SSIM, got {mask.shape}")
    _, similarity = structural_similarity(
        truth, filled, data_range=255, channel_axis=-1, full=True, gaussian_weights=True, use_sample_covariance=False
    )
    return float(similarity[mask].mean())


def texture_distance(truth: np.ndarray, filled: np.ndarray, mask: np.ndarray) -> float:
    """Texture distance in a hole: 0 if equal, 1 if only one of the two has texture.

    Energies a and b of log-Gabor filters (three octaves, four orientations, a quadrature pair each), averaged over
    about a wavelength, compared as |a − b| / (a + b + floor), averaged over filters and pixels of the hole. Filters
    like those of the first visual area need no training, and what they measure is what PSNR misses: a blurred fill has
    no energy, wherever its edges lie. Arguments as above.

    Source: Field 1987 (log-Gabor filters); Bergen and Adelson 1988 (texture as local energy).
    """
    box = Box.around(mask)
    if box is None:
        raise ValueError("the mask must not be empty")
    part = box.grown(round(4 * WAVELENGTH_PX * 2 ** (SCALES - 1)), mask.shape).slices
    hole = mask[part]
    distances = []
    energies = zip(_energies(truth[part] @ LUMA), _energies(filled[part] @ LUMA), strict=True)
    for ours, theirs in energies:
        relative = np.abs(ours - theirs) / (ours + theirs + ENERGY_FLOOR)
        distances.append(relative[hole].mean())
    return float(np.mean(distances))


def _energies(luma: np.ndarray) -> list[np.ndarray]:
    """Local amplitude of each filter in grey levels, (H, W) float64 each."""
    height, width = luma.shape
    padding = round(2 * WAVELENGTH_PX * 2 ** (SCALES - 1))
    padded = np.pad(luma - luma.mean(), padding, mode="symmetric")
    spectrum = np.fft.fft2(padded)
    down, across = np.meshgrid(*(np.fft.fftfreq(side) for side in padded.shape), indexing="ij")
    radius = np.hypot(down, across)
    radius[0, 0] = 1.0  # the mean is in no band
    angle = np.arctan2(down, across)
    energies = []
    for scale in range(SCALES):
        wavelength = WAVELENGTH_PX * 2**scale
        radial = np.exp(-(np.log(radius * wavelength) ** 2) / (2 * np.log(SIGMA_ON_F) ** 2))
        radial[0, 0] = 0.0
        for orientation in range(ORIENTATIONS):
            offset = angle - np.pi * orientation / ORIENTATIONS
            offset = np.arctan2(np.sin(offset), np.cos(offset))
            # One side of the spectrum only: real and imaginary part of the response are the quadrature pair.
            angular = np.exp(-(offset**2) / (2 * (np.pi / ORIENTATIONS / 1.5) ** 2)) * (np.abs(offset) < np.pi / 2)
            amplitude = 2 * np.abs(np.fft.ifft2(spectrum * radial * angular))
            amplitude = amplitude[padding : padding + height, padding : padding + width]
            energies.append(ndimage.gaussian_filter(amplitude, POOL * wavelength / 2, mode="nearest"))
    return energies
