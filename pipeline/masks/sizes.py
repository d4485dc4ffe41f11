"""Fits masks to the size of their image: by rotation, scaling or anchoring."""

import numpy as np

from pipeline.codecs.photo import Photo
from pipeline.config.mask import MaskConfig
from pipeline.errors import SampleError
from pipeline.masks.base import open_kind

Shape = tuple[int, ...]  # height and width
MAX_STATED_PIXELS = 1 << 26  # by annotations of an image that has fewer
TURNED = 5  # EXIF orientations from here on swap height and width


def drawn_shape(shape: Shape, orientation: int, config: MaskConfig) -> tuple[int, int]:
    """Return height and width of the image for its mask: as shown with ``mask.upright``, otherwise as stored."""
    height, width = shape
    return (width, height) if config.upright and orientation >= TURNED else (height, width)


def may_be_upright(shape: Shape, orientation: int, config: MaskConfig) -> bool:
    """Return whether a mask that fits the stored image may have been drawn on the image as shown."""
    return not config.upright and orientation >= 2 and open_kind(config).may_be_upright(shape, orientation)


def fitted(mask: np.ndarray, photo: Photo, config: MaskConfig) -> np.ndarray:
    """Fit a mask, (h, w) bool, to a photo as it is stored; raises as :func:`fit` does."""
    shape, orientation = photo.pixels.shape[:2], photo.orientation
    return turn_back(fit(mask, shape, orientation, config), orientation, config)


def turn_back(mask: np.ndarray, orientation: int, config: MaskConfig) -> np.ndarray:
    """Rotate an upright mask to the stored orientation of its image.

    Args:
        mask: (H, W) of :func:`drawn_shape`.
        orientation: of the image, 1 … 8 as in EXIF.
        config: whether masks are upright.
    """
    return np.ascontiguousarray(_TURNS[orientation](mask)) if config.upright else mask


def as_shown(pixels: np.ndarray, orientation: int, config: MaskConfig) -> np.ndarray:
    """Return a view of a stored image, (H, W[, bands]), in the orientation of its mask, see :func:`drawn_shape`."""
    return _TURNS[_INVERSE.get(orientation, orientation)](pixels) if config.upright else pixels


def fit(mask: np.ndarray, shape: Shape, orientation: int, config: MaskConfig) -> np.ndarray:
    """Fit a mask to :func:`drawn_shape`, scaled or anchored as configured.

    Args:
        mask: (h, w) bool.
        shape: height and width of the image as it is stored.
        orientation: of the image, 1 … 8 as in EXIF.
        config: anchor, scaling and whether masks are upright.

    Raises:
        SampleError: another size, or sides swapped.
    """
    wanted = drawn_shape(shape, orientation, config)
    if mask.shape == wanted:
        return mask
    if config.anchor:
        return _anchored(mask, wanted, config.anchor)
    if not config.resize or is_on_side(mask.shape, wanted):
        raise size_mismatch("the mask is", mask.shape, shape, orientation, config)
    return scale(mask, wanted)


def scale(mask: np.ndarray, shape: Shape) -> np.ndarray:
    """Scale a mask, (h, w) bool, to a shape; a pixel is set if any part of it was."""
    tall = _scaled_rows(mask, shape[0])
    return np.ascontiguousarray(_scaled_rows(np.ascontiguousarray(tall.T), shape[1]).T)


def is_on_side(shape: Shape, wanted: Shape) -> bool:
    """Return whether a size has the swapped proportions of another one, within a pixel, and not the same ones."""
    return _is_alike(shape, wanted[::-1]) and not _is_alike(shape, wanted)


def size_mismatch(what: str, size: Shape, shape: Shape, orientation: int, config: MaskConfig) -> SampleError:
    """Explain why a mask's size does not fit, and which option to set.

    Args:
        what: the beginning of the sentence, before the size.
        size: height and width of the mask.
        shape: height and width of the image as it is stored.
        orientation: of the image, 1 … 8 as in EXIF.
        config: whether masks are upright.
    """
    message = f"{what} {size[1]}x{size[0]}, the image is stored as {shape[1]}x{shape[0]} pixels"
    if orientation >= TURNED:
        message += f" and shown as {shape[0]}x{shape[1]} by its EXIF orientation {orientation}"
    if not is_on_side(size, drawn_shape(shape, orientation, config)):
        advice = "mask.resize=true scales masks"
    elif orientation < TURNED:
        advice = "one is turned by 90 degrees, and no EXIF orientation says which way: turn it"
    elif config.upright:
        advice = "mask.upright=false takes masks of the image as it is stored"
    else:
        advice = "mask.upright=true takes masks that were drawn on the image as it is shown"
    return SampleError("mask", "MaskSizeMismatch", f"{message}; {advice}")


def annotated_shape(stated: Shape, shape: tuple[int, int], orientation: int, config: MaskConfig) -> tuple[int, int]:
    """Return height and width of the picture that coordinates refer to.

    Args:
        stated: the size that the annotations state.
        shape: of :func:`drawn_shape`.
        orientation: of the image, 1 … 8 as in EXIF.
        config: scaling and whether annotations are upright.

    Raises:
        SampleError: another size that may not be scaled.
        ValueError: no size, or one far beyond that of the image.
    """
    if min(stated) < 1:
        raise ValueError(f"the file states {stated[1]}x{stated[0]} pixels as its size")
    is_turned = config.upright and orientation >= TURNED
    if stated == shape or (is_turned and stated == shape[::-1]):
        return shape  # some tools state the size of the image as it is stored
    if not config.resize or is_on_side(stated, shape):
        stored = shape[::-1] if is_turned else shape
        raise size_mismatch("annotated at", stated, stored, orientation, config)
    if stated[0] * stated[1] > max(4 * shape[0] * shape[1], MAX_STATED_PIXELS):
        raise ValueError(f"annotated at {stated[1]}x{stated[0]} pixels, far more than the image has")
    return stated[0], stated[1]


def turned_advice(shape: Shape, orientation: int, config: MaskConfig) -> str:
    """Return the advice for shapes that fit only with the sides swapped; empty if EXIF swaps none."""
    if orientation < TURNED:
        return ""
    other = "false" if config.upright else "true"
    return f"by its EXIF orientation {orientation} it may also be {shape[0]}x{shape[1]}: try mask.upright={other}"


def _is_alike(one: Shape, other: Shape) -> bool:
    """Return whether two sizes have the same proportions, within a pixel of rounding."""
    scale = one[0] / other[0]
    return abs(one[1] - other[1] * scale) <= 1 + scale


def _scaled_rows(mask: np.ndarray, length: int) -> np.ndarray:
    """Scale the rows of a mask, (h, w) bool, to (length, w); a row is set if it overlaps any set row."""
    edges = np.arange(length + 1) * len(mask)
    first, end = edges[:-1] // length, -(-edges[1:] // length)
    scaled = mask[first]
    for further in range(1, int((end - first).max())):
        scaled |= mask[np.minimum(first + further, end - 1)]
    return scaled


def _anchored(mask: np.ndarray, shape: Shape, anchor: str) -> np.ndarray:
    vertical, horizontal = ("center", "center") if anchor == "center" else anchor.split("-")
    rows, columns = (
        _anchored_side(ours, theirs, side)
        for ours, theirs, side in zip(mask.shape, shape, (vertical, horizontal), strict=True)
    )
    result = np.zeros(shape, bool)
    result[rows[0], columns[0]] = mask[rows[1], columns[1]]
    return result


def _anchored_side(ours: int, theirs: int, side: str) -> tuple[slice, slice]:
    """Return the range of the image that a mask covers, and the range of the mask that is there, along one side."""
    start = {"top": 0, "left": 0, "center": (theirs - ours) // 2}.get(side, theirs - ours)
    kept = min(ours, theirs)
    return slice(max(0, start), max(0, start) + kept), slice(max(0, -start), max(0, -start) + kept)


_INVERSE = {6: 8, 8: 6}  # the others are their own
# From the image as it is shown to the image as it is stored.
_TURNS = {
    1: lambda mask: mask,
    2: lambda mask: mask[:, ::-1],
    3: lambda mask: mask[::-1, ::-1],
    4: lambda mask: mask[::-1],
    5: lambda mask: mask.swapaxes(0, 1),
    6: lambda mask: np.rot90(mask),
    7: lambda mask: mask[::-1, ::-1].swapaxes(0, 1),
    8: lambda mask: np.rot90(mask, -1),
}
