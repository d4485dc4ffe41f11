"""Maps cut into bands of rows, so that what is made of a band stays in the cache of a CPU."""

from collections.abc import Iterator

from torch import Tensor
from torch.nn import functional


def bands(features: Tensor, rows: int, height: int, width: int) -> Iterator[tuple[int, slice, Tensor]]:
    """Cut channels-last maps for 3×3 convolutions of padding 1.

    Args:
        features: (B, H, W, C).
        rows: of a band; the last one may have fewer.
        height, width: of the outputs, at least H and W; the maps go on in zeros.

    Yields:
        The index of a sample, the rows of the output, and what they are made of, (rows + 2, width + 2, C).
    """
    for sample, planes in enumerate(features):
        for top in range(0, height, rows):
            bottom = min(height, top + rows)
            first, last = max(0, top - 1), min(len(planes), bottom + 1)
            edges = (0, 0, 1, 1 + width - planes.shape[1], first - top + 1, bottom + 1 - last)
            yield sample, slice(top, bottom), functional.pad(planes[first:last], edges)
