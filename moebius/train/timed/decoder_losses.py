"""Losses of fills that the small decoder makes of sampled latents: colours, pixels at edges, no lattice."""

import torch
from torch import Tensor
from torch.nn import functional

from moebius.autoencoder.small import FACTOR
from moebius.train.tasks.autoencoder import reconstruction_loss
from moebius.train.timed.decoder_samples import DecoderBatch

MIN_CELLS = 6  # for whose mean a pattern shows
NEAR_PX = 3  # from a known pixel
MEAN_PX = 8  # of sampled latents only these means are compared with the truth


def hole_mean(values: Tensor, holes: Tensor) -> Tensor:
    """Mean of (B, 1, h, w) over the positions of (B, 1, H, W) holes, by the share of pixels that are in them."""
    shares = functional.adaptive_avg_pool2d(holes, (values.shape[-2], values.shape[-1]))
    return (values * shares).sum() / shares.sum().clamp(min=1e-6)


def sampled_loss(decoded: Tensor, batch: DecoderBatch) -> Tensor:
    """Error of local means in the holes, and of pixels near their edges and, at a low weight, outside of them."""
    errors = (decoded - batch.images) * batch.holes
    means = functional.avg_pool2d(errors, MEAN_PX).abs().mean() / batch.holes.mean().clamp(min=1e-6)
    near = functional.max_pool2d(1 - batch.holes, 2 * NEAR_PX + 1, stride=1, padding=NEAR_PX)
    expected = torch.where(near > 0, batch.images, decoded.detach())
    return means + reconstruction_loss(decoded, expected, batch.holes * near)


def lattice_loss(decoded: Tensor, images: Tensor, holes: Tensor) -> Tensor:
    """Measure a pattern that repeats with every latent position inside holes, as far as photos have it less.

    Statistics and discriminators take such a lattice for texture. It is the mean, over the 8×8 px cells inside a hole,
    of what is left of them without their mean colour; photos leave little, since their cells differ.

    Args:
        decoded: (B, 3, H, W) in [-1, 1].
        images: (B, 3, H, W), the truth.
        holes: (B, 1, H, W), 1 = filled; those of fewer than ``MIN_CELLS`` whole cells count nothing.
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
