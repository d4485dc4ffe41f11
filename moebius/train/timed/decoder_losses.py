"""Losses of fills that the small decoder makes of sampled latents: colours, pixels at edges, no lattice."""

import torch
from torch import Tensor
from torch.nn import functional

from moebius.autoencoder.small import FACTOR
from moebius.train.tasks.autoencoder import reconstruction_loss
from moebius.train.timed.decoder_samples import DecoderBatch

MIN_CELLS = 6  # fewer do not average texture away
NEAR_PX = 3  # from a known pixel
MEAN_PX = 8  # of sampled latents only these means are compared with the truth


def hole_mean(values: Tensor, holes: Tensor) -> Tensor:
    """Mean of (B, 1, h, w) over the positions of (B, 1, H, W) holes, by the share of pixels that are in them."""
    shares = functional.adaptive_avg_pool2d(holes, (values.shape[-2], values.shape[-1]))
    return (values * shares).sum() / shares.sum().clamp(min=1e-6)


def sampled_loss(decoded: Tensor, batch: DecoderBatch) -> Tensor:
    """Add the error of local means in holes to that of single pixels: those of holes within ``NEAR_PX`` of a known one.

    Known pixels count with a low weight; pixels deep in holes have no error of their own.
    """
    errors = (decoded - batch.images) * batch.holes
    means = functional.avg_pool2d(errors, MEAN_PX).abs().mean() / batch.holes.mean().clamp(min=1e-6)
    near = functional.max_pool2d(1 - batch.holes, 2 * NEAR_PX + 1, stride=1, padding=NEAR_PX)
    expected = torch.where(near > 0, batch.images, decoded.detach())
    return means + reconstruction_loss(decoded, expected, batch.holes * near)


def lattice_loss(decoded: Tensor, images: Tensor, holes: Tensor) -> Tensor:
    """Measure how much stronger the mean 8×8 px cell of the filled area is patterned than that of the photo.

    A decoder can draw the same pattern at every latent position; statistics and discriminators take it for texture.
    The details of a photo differ from cell to cell, so their mean is weak.

    Args:
        decoded: (B, 3, H, W) in [-1, 1]; H and W are multiples of 8.
        images: (B, 3, H, W), the truth.
        holes: (B, 1, H, W), 1 = filled; an image with fewer than ``MIN_CELLS`` whole cells in its holes is left out.

    Returns:
        A scalar from 0, in units of the pixels.
    """
    inside = 1 - functional.max_pool2d(1 - holes, FACTOR)  # (B, 1, h, w), cells without a known pixel
    count = inside.sum(dim=(2, 3))
    is_large = (count >= MIN_CELLS).to(decoded.dtype)

    def pattern(pixels: Tensor) -> Tensor:
        """(B, 3, 64)."""
        cells = functional.pixel_unshuffle(pixels, FACTOR).unflatten(1, (pixels.shape[1], FACTOR**2))
        details = cells - cells.mean(dim=2, keepdim=True)
        return (details * inside[:, :, None]).sum(dim=(3, 4)) / count[:, :, None].clamp(min=1)

    excess = functional.relu(pattern(decoded).abs() - pattern(images).abs()).mean(dim=(1, 2))
    return (excess * is_large[:, 0]).sum() / is_large.sum().clamp(min=1)
