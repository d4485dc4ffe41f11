"""Squares of a photo and its mask scaled to the model's size; nothing under the mask shows outside of it."""

import numpy as np
from PIL import Image


def mirrored_square(array: np.ndarray, top: int, left: int, side_px: int) -> np.ndarray:
    """Cut a square from an (H, W, …) array, mirrored where it reaches over the border."""
    for axis, start in enumerate((top, left)):
        if start >= 0 and start + side_px <= array.shape[axis]:
            array = array[(slice(None),) * axis + (slice(start, start + side_px),)]
        else:
            array = array.take(_mirrored(start, side_px, array.shape[axis]), axis)
    return array


def magnify(pixels: np.ndarray, hole: np.ndarray, size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale a square up, without mixing pixels of its hole into those around it.

    Scaling mixes neighbours, so known pixels are mixed with colours spread over the hole instead of its own. Inside
    the hole the photo is kept, since sampling may start from it.

    Args:
        pixels: (side, side, 3) uint8.
        hole: (side, side) bool.
        size_px: side of the result, larger.
    """
    from moebius.autoencoder.colour_spread import without_hole  # PyTorch, which workers that only decode do without

    nearest = np.arange(size_px) * len(pixels) // size_px
    scaled_hole = hole[nearest[:, None], nearest]
    scaled = np.array(_resized(without_hole(pixels, hole), size_px))
    np.copyto(scaled, _resized(pixels, size_px), where=scaled_hole[..., None])
    return scaled, scaled_hole


def shrink_square(
    image: np.ndarray, mask: np.ndarray, top: int, left: int, side_px: int, size_px: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scale a square of a photo down to means, mirrored where it reaches over the border.

    A scaled pixel counts as masked when any of its sources is.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) bool.
        top, left, side_px: the square, in image pixels.
        size_px: side of the result, smaller.

    Returns:
        (size_px, size_px, 3) uint8 and (size_px, size_px) bool.
    """
    first_row, first_column = max(top, 0), max(left, 0)
    colours: np.ndarray = image[first_row : first_row + side_px, first_column : first_column + side_px]
    hole = mask[first_row : first_row + side_px, first_column : first_column + side_px]
    starts = (min(top, 0), min(left, 0))  # as seen from the part of the photo that is there
    for axis in sorted((0, 1), key=lambda axis: -hole.shape[axis]):  # the longer one first: less in between
        colours, hole = _shrunk(colours, hole, _mirrored(starts[axis], side_px, hole.shape[axis]), size_px, axis)
    return np.rint(colours).astype(np.uint8), hole


def _resized(pixels: np.ndarray, size_px: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((size_px, size_px), Image.Resampling.BICUBIC))


def _shrunk(
    colours: np.ndarray, hole: np.ndarray, indices: np.ndarray, bins: int, axis: int
) -> tuple[np.ndarray, np.ndarray]:
    """Bring one axis to ``bins`` equal stretches, rounded outwards so that every part of each is covered.

    Args:
        colours, hole: (H, W, 3) and (H, W) bool.
        indices: positions along the axis, in order.

    Returns:
        Means of the colours, in float32, and whether anything is true in each stretch.
    """
    edges = np.arange(bins + 1) * len(indices)
    starts = edges[:-1] // bins
    lengths = -(-edges[1:] // bins) - starts
    along = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    sums = colours.take(indices[starts], axis).astype(np.float32)
    covered = hole.take(indices[starts], axis)
    for offset in range(1, lengths.max()):
        at = indices[starts + np.minimum(offset, lengths - 1)]
        np.add(sums, colours.take(at, axis), out=sums, where=(offset < lengths).reshape(along))
        covered |= hole.take(at, axis)
    return sums / lengths.astype(np.float32).reshape(along), covered


def _mirrored(start: int, count: int, length: int) -> np.ndarray:
    """Return the indices of ``count`` pixels from ``start``, mirrored at both borders as often as needed."""
    indices = np.arange(start, start + count) % (2 * length)
    return np.minimum(indices, 2 * length - 1 - indices)
