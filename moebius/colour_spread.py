"""Smooth colours over a hole: what the small decoder adds to."""

from torch import Tensor
from torch.nn import functional


def spread_colours(blanked: Tensor, holes: Tensor) -> Tensor:
    """Smooth colours from what is known over what is not, by a pyramid of means; 0 where nothing is known.

    Source: the push-pull algorithm of Gortler et al. 1996 (The Lumigraph).

    Args:
        blanked: (B, 3, H, W), 0 in the holes.
        holes: (B, 1, H, W), 1 = not known.
    """
    known = 1 - holes
    if blanked.shape[-2] % 2 or blanked.shape[-1] % 2:
        area = known.sum(dim=(2, 3), keepdim=True).clamp(min=1)
        return blanked * known + (blanked * known).sum(dim=(2, 3), keepdim=True) / area * holes
    share = functional.avg_pool2d(known, 2)
    means = functional.avg_pool2d(blanked * known, 2) / share.clamp(min=0.25)
    coarse = spread_colours(means, (share == 0).to(holes.dtype))
    spread = functional.interpolate(coarse, scale_factor=2.0, mode="bilinear")
    return blanked * known + spread * holes
