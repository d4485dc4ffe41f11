"""Encodes a hole into the blocks of a JPEG that it touches; all others keep their coefficients."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from moebius.windows import Box
from pipeline.codecs.jpeg.coefficients import Coefficients, Component

_SIDE = 8
_UNITS_AT_ONCE = 4  # lines of units that are computed together
_CENTRE, _LIMITS = 128, (-1024, 1023)  # of 8 bits
_FREQUENCY, _POSITION = np.meshgrid(np.arange(_SIDE), np.arange(_SIDE), indexing="ij")
# Orthonormal, so coefficients = DCT · samples · DCTᵀ (T.81, A.3.3).
_DCT = (np.cos((2 * _POSITION + 1) * _FREQUENCY * np.pi / 16) / np.where(_FREQUENCY, 2, np.sqrt(8))).astype(np.float32)


def _zigzag() -> list[int]:
    """Positions in a block along its diagonals, each in the other direction than the one before."""
    places = [divmod(at, _SIDE) for at in range(_SIDE**2)]
    places.sort(key=lambda place: (sum(place), place[sum(place) % 2 == 0]))
    return [row * _SIDE + column for row, column in places]


_ZIGZAG = _zigzag()


@dataclass(frozen=True)
class Repainted:
    """Changes that the fill of a picture made.

    Args:
        blocks_changed: blocks of 8×8 samples with another coefficient than before.
        reach: (H, W) bool: pixels that decoders compute from blocks which the hole touches.
    """

    blocks_changed: int
    reach: np.ndarray


def repaint_blocks(
    picture: Coefficients,
    pixels: np.ndarray,
    mask: np.ndarray,
    to_components: Callable[[np.ndarray], list[np.ndarray]],
) -> Repainted:
    """Encode filled pixels into the blocks that they touch.

    A sample outside the hole is encoded again as its coefficients say, before rounding. One that stands for several
    pixels takes over the filled ones among them, in proportion.

    Args:
        picture: changed in place.
        pixels: (H, W) or (H, W, bands) uint8, right under the mask.
        mask: (H, W) bool.
        to_components: returns the samples (h, w) of each component for some pixels, as float32 from 0 to 255.
    """
    reach, changed = np.zeros(mask.shape, bool), 0
    steps = [(part.step_y, part.step_x) for part in picture.components]
    height_px, width_px = (_SIDE * max(sizes) for sizes in zip(*steps, strict=True))
    for top in range(0, mask.shape[0], band_px := height_px * _UNITS_AT_ONCE):
        hole = Box.around(mask[top : top + band_px])
        if hole is None:
            continue
        right, bottom = -(-hole.right // width_px) * width_px, -(-hole.bottom // height_px) * height_px
        at = Box(top, hole.left // width_px * width_px, top + bottom, right)
        planes, hole_here = to_components(_padded(pixels, at)), _padded(mask, at)
        for component, plane in zip(picture.components, planes, strict=True):
            changed += _repaint(component, plane, hole_here, at, reach)
    # Decoders interpolate between samples that stand for several pixels, up to the neighbouring one.
    return Repainted(changed, _with_neighbours(reach, max(map(max, steps)) - 1))


def _padded(image: np.ndarray, at: Box) -> np.ndarray:
    """Cut a rectangle that may exceed an image; there its last row and column are repeated."""
    part = image[at.slices]
    missing = at.bottom - at.top - part.shape[0], at.right - at.left - part.shape[1]
    return np.pad(part, [(0, missing[0]), (0, missing[1])] + [(0, 0)] * (image.ndim - 2), mode="edge")


def _repaint(component: Component, plane: np.ndarray, hole: np.ndarray, at: Box, reach: np.ndarray) -> int:
    """Encode one component inside a rectangle, add its blocks to ``reach`` and return how many have changed."""
    height_px, width_px = _SIDE * component.step_y, _SIDE * component.step_x
    top, left = at.top // height_px, at.left // width_px
    share, filled = _blocks(hole, component), _blocks(plane * hole, component)
    touched = np.asarray(share.any(axis=(2, 3)))
    touched[max(component.plane.own_lines - top, 0) :] = False  # blocks beyond the picture only fill up units
    touched[:, max(component.plane.own_columns - left, 0) :] = False
    stored = component.plane.blocks[top : top + touched.shape[0], left : left + touched.shape[1]]
    before, share = stored[touched], share[touched]
    samples = (1 - share) * _samples(before * component.table) + filled[touched]
    after = np.rint(_frequencies(samples) / component.table).clip(*_LIMITS).astype(np.int16)
    stored[touched] = after
    part = reach[at.slices]
    part |= touched.repeat(height_px, axis=0).repeat(width_px, axis=1)[: part.shape[0], : part.shape[1]]
    return int((before != after).any(axis=1).sum())


def _blocks(plane: np.ndarray, component: Component) -> np.ndarray:
    """Average pixels to samples, and cut them into blocks: (lines, columns, 8, 8) float32."""
    steps = product(range(component.step_y), range(component.step_x))
    parts = [plane[y :: component.step_y, x :: component.step_x] for y, x in steps]
    samples = sum(parts[1:], parts[0].astype(np.float32)) / np.float32(len(parts))
    lines, columns = samples.shape[0] // _SIDE, samples.shape[1] // _SIDE
    return samples.reshape(lines, _SIDE, columns, _SIDE).swapaxes(1, 2)


def _samples(frequencies: np.ndarray) -> np.ndarray:
    """Transform (n, 64) in zigzag order to samples (n, 8, 8)."""
    blocks = np.empty_like(frequencies)
    blocks[:, _ZIGZAG] = frequencies
    return _DCT.T @ blocks.reshape(-1, _SIDE, _SIDE) @ _DCT + _CENTRE


def _frequencies(samples: np.ndarray) -> np.ndarray:
    """Transform samples (n, 8, 8) to (n, 64) in zigzag order."""
    return (_DCT @ (samples - _CENTRE) @ _DCT.T).reshape(-1, _SIDE**2)[:, _ZIGZAG]


def _with_neighbours(pixels: np.ndarray, count: int) -> np.ndarray:
    """Add so many pixels on all sides of true ones, (H, W) bool."""
    for axis in (0, 1):
        grown = pixels.copy()
        for step in range(1, count + 1):
            before, after = ((slice(None),) * axis + (part,) for part in (slice(step, None), slice(None, -step)))
            grown[before] |= pixels[after]
            grown[after] |= pixels[before]
        pixels = grown
    return pixels
