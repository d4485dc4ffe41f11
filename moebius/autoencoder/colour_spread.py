"""Colours spread over a hole: the start of sampling with a small denoiser, and the base of the small decoder."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

RELAXATIONS = 4  # at full resolution; twice as many at each half, where they cost a quarter
MAX_RELAXATIONS = 32
_TINY = 1e-12  # keeps quotients finite where nothing is left to minimize


def spread_colours(blanked: Tensor, holes: Tensor, relaxations: int = RELAXATIONS) -> Tensor:
    """Fill holes with colours that vary as little as possible between the known ones around; 0 where nothing is known.

    They come near the solution of Laplace's equation: a pyramid of means gives a first guess, coarse to fine, and at
    each level every unknown pixel becomes the mean of its four neighbours a few times (Jacobi's method).

    Source: the push-pull algorithm of Gortler et al. 1996 (The Lumigraph), with the relaxation of full multigrid.

    Args:
        blanked: (B, 3, H, W), 0 in the holes.
        holes: (B, 1, H, W), 1 = not known.
        relaxations: at this level.
    """
    known = 1 - holes
    blanked = blanked * known
    if blanked.shape[-2] % 2 or blanked.shape[-1] % 2:
        area = known.sum(dim=(2, 3), keepdim=True).clamp(min=1)
        return blanked + blanked.sum(dim=(2, 3), keepdim=True) / area * holes
    share = functional.avg_pool2d(known, 2)
    means = functional.avg_pool2d(blanked, 2) / share.clamp(min=0.25)
    coarse = spread_colours(means, (share == 0).to(holes.dtype), min(2 * relaxations, MAX_RELAXATIONS))
    guess = functional.interpolate(coarse, scale_factor=2.0, mode="bilinear")
    colours = blanked + guess * holes
    for _ in range(relaxations):
        colours = blanked + _mean_of_neighbours(colours) * holes
    return colours


def smooth_colours(colours: Tensor, holes: Tensor, steps: int) -> Tensor:
    """Let spread colours continue the slopes at the edges of holes, not only the values: towards a biharmonic fill.

    The conjugate gradient method minimizes the sum of the squared Laplacians. Eight steps reach the minimum in letters
    and wires; in large holes they change little but the rim.

    Args:
        colours: (B, 3, H, W) float32 in [-1, 1], from :func:`spread_colours`.
        holes: (B, 1, H, W) float32, 1 = not known.
        steps: of the method.
    """

    def dot(left: Tensor, right: Tensor) -> Tensor:
        return (left * right).sum(dim=(1, 2, 3), keepdim=True)

    residual = -holes * _laplacian(_laplacian(colours))
    direction, power = residual, dot(residual, residual)
    for _ in range(steps):
        image = holes * _laplacian(_laplacian(direction))
        length = power / (dot(direction, image) + _TINY)
        colours, residual = colours + length * direction, residual - length * image
        before, power = power, dot(residual, residual)
        direction = residual + power / (before + _TINY) * direction
    return colours.clamp(-1, 1)


def without_hole(pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Replace what lies in a hole by colours spread from around it.

    Args:
        pixels: (side, side, 3) uint8.
        hole: (side, side) bool.

    Returns:
        (side, side, 3) uint8.
    """
    side = len(hole)
    whole = 1 << (side - 1).bit_length()  # so that it can be halved down to one pixel; what is added is not known
    blanked, holes = torch.zeros(1, 3, whole, whole), torch.ones(1, 1, whole, whole)
    blanked[0, :, :side, :side] = torch.from_numpy(np.where(hole[..., None], 0, pixels)).permute(2, 0, 1)
    holes[0, 0, :side, :side] = torch.from_numpy(hole)
    colours = spread_colours(blanked, holes)[0, :, :side, :side]
    return colours.round().clamp(0, 255).byte().permute(1, 2, 0).numpy()


def _laplacian(values: Tensor) -> Tensor:
    return _mean_of_neighbours(values) - values


def _mean_of_neighbours(colours: Tensor) -> Tensor:
    """Return the mean of each pixel's four neighbours; at the edge a pixel is its own neighbour."""
    padded = functional.pad(colours, (1, 1, 1, 1), mode="replicate")
    rows, columns = padded[..., 1:-1, :], padded[..., :, 1:-1]
    return (rows[..., :-2] + rows[..., 2:] + columns[..., :-2, :] + columns[..., 2:, :]) / 4
