"""Tells whether a mark is where it should be, and finds it nearby."""

from collections.abc import Callable, Iterator

import numpy as np
from scipy import ndimage, signal

from pipeline.masks.mark.picture import LUMA, Mark
from pipeline.masks.mark.places import Place, Shape

FLAT_PX = 4.0  # standard deviation of the blur that estimates the photo under the mark
FAINT = 1.0 / 255  # steps of the mark that are smaller on average are not looked for
BORDER_PX = 1  # around the mark, for the steps at its border
MAX_SCALES = 41

Edges = tuple[np.ndarray, np.ndarray]  # differences downwards and to the right
Read = Callable[[tuple[slice, slice]], np.ndarray]  # rows and columns of a photo → (h, w) brightness, 0 … 1


def strength(read: Read, shape: Shape, mark: Mark, places: list[Place]) -> float | None:
    """Return how strong the steps of the mark are in the photo: 1 as given, 0 if they are not there.

    The photo's steps are fitted by those that the mark makes on a blurred photo (least squares over all places).

    Args:
        read: returns the brightness of a part of the photo.
        shape: height and width of the photo.
        mark: in the size that it has in the photo.
        places: where it should be.

    Returns:
        The factor; ``None`` where the mark makes no step that could be seen, such as white on white.
    """
    matching = expected = 0.0
    pixels = 0
    for wide, layer in _parts(mark, shape, places, 0):
        seen = read(wide)
        steps = _edges(_expected(seen, layer))
        matching += sum(float((one * other).sum()) for one, other in zip(_edges(seen), steps, strict=True))
        expected += sum(float((one**2).sum()) for one in steps)
        pixels += int(np.count_nonzero(steps[0]))
    return matching / expected if expected > pixels * FAINT**2 else None


def best_shift(read: Read, shape: Shape, mark: Mark, places: list[Place], most_px: int) -> tuple[float, int, int]:
    """Return the shift down and to the right, of at most so many pixels, at which the mark fits best, and how well.

    The measure is the correlation of the photo's steps with the mark's, divided by the norm of the latter.
    """
    side = 2 * most_px + 1
    correlation, norm = np.zeros((side, side)), 0.0
    for wide, layer in _parts(mark, shape, places, most_px):
        seen = read(wide)
        inner = slice(most_px, seen.shape[0] - most_px), slice(most_px, seen.shape[1] - most_px)
        steps = _edges(_expected(seen[inner], layer))
        norm += sum(float((one**2).sum()) for one in steps)
        for one, other in zip(_edges(seen), steps, strict=True):
            correlation += signal.correlate(one, other, mode="valid", method="fft")
    down, right = np.unravel_index(int(correlation.argmax()), correlation.shape)
    fit = float(correlation.max()) / max(norm, 1e-12) ** 0.5
    return fit, int(down) - most_px, int(right) - most_px


def scales(most: float, shape: Shape) -> list[float]:
    """Return factors around 1, so dense that the mark's far border moves by about a pixel; 1 comes first."""
    steps = min(MAX_SCALES // 2, int(np.ceil(most * max(shape))))
    factors = [most * step / max(steps, 1) for step in range(1, steps + 1)]
    return [1.0, *(1 + sign * factor for factor in factors for sign in (1, -1))]


def _parts(mark: Mark, shape: Shape, places: list[Place], slack_px: int) -> Iterator[tuple[tuple[slice, slice], Mark]]:
    """Yield parts of the photo, wider by ``slack_px`` than the mark on them with a transparent border."""
    room, reach = (shape[0] - 2 * slack_px, shape[1] - 2 * slack_px), 2 * slack_px
    for place in places:
        for block, where in place.blocks():
            if inside := block.grown(BORDER_PX).moved(-slack_px, -slack_px).inside(room):
                (rows, columns), part = inside
                wide = slice(rows.start, rows.stop + reach), slice(columns.start, columns.stop + reach)
                yield wide, mark.around(*where, BORDER_PX).part(*part)


def _expected(seen: np.ndarray, mark: Mark) -> np.ndarray:
    """Return what the mark adds to the brightness of a photo, whose own is estimated around each pixel."""
    added = mark.added @ LUMA
    left = ndimage.gaussian_filter(np.clip(seen - added, 0, 1), FLAT_PX, mode="nearest")
    share = ndimage.gaussian_filter(1 - mark.alpha, FLAT_PX, mode="nearest")
    return added - mark.alpha * np.clip(left / np.maximum(share, 1e-3), 0, 1)


def _edges(brightness: np.ndarray) -> Edges:
    return np.diff(brightness, axis=0), np.diff(brightness, axis=1)
