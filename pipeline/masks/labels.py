"""Detects masks of class or object labels, some of which are below the threshold and would be lost.

Soft edges and faint rests lie below it, too. Labels cover flat areas, which either leave a gap below the threshold, are
colours, or are isolated: connected to nothing that reaches the threshold.
"""

import math

import numpy as np
from scipy import ndimage

from pipeline.config.mask import MaskConfig
from pipeline.errors import SampleError
from pipeline.masks.values import MaskValues

LABEL_SHARE = 0.1  # flat areas below the threshold, over the area at or above it
ISOLATED_SHARE = 0.005  # the same of isolated areas
MIN_ZERO_SHARE = 0.01  # of the mask; where zero is rarer, the ground itself may have another value
COLOURFUL = 32  # difference of the channels, in 8 bits
MAX_LABELS = 32  # colours in one mask; soft edges have more
MIN_SLOPE_VALUES, MIN_SLOPE_SHARE = 3, 0.95  # of a faint slope: its values, and the small steps between them
SMALL_STEP = 8  # one is at most the largest value over this


def refuse_labels(values: MaskValues, mask: np.ndarray, config: MaskConfig) -> None:
    """Refuse a mask with labels below the threshold, unless the threshold is not the default.

    Args:
        values: of a mask file.
        mask: pixels that reach the threshold.
        config: for the message.

    Raises:
        SampleError: labels would be lost; the message names the remedy.
    """
    if config.threshold != MaskConfig.threshold:  # somebody has thought about it
        return
    numbers = values.numbers
    below = (numbers > values.noise) & ~mask
    area = np.count_nonzero(mask)
    is_ground_zero = np.count_nonzero(numbers <= values.noise) >= MIN_ZERO_SHARE * numbers.size
    if not is_ground_zero or np.count_nonzero(below) <= ISOLATED_SHARE * area:
        return
    flat = below & _flat(numbers)
    if np.count_nonzero(flat) <= ISOLATED_SHARE * area or _is_slope(numbers, mask, flat):
        return
    isolated = flat & ~_touched(below | mask, mask)
    if np.count_nonzero(isolated) > ISOLATED_SHARE * area:
        flat = isolated
    elif not _is_lost(values, below, flat, LABEL_SHARE * area, config.threshold):
        return
    raise SampleError(
        "mask",
        "MaskOfLabels",
        f"flat areas of the mask, such as of value {numbers[flat][0]} of {values.full_scale}, are below "
        f"mask.threshold={config.threshold:g} while others are not, as in masks of classes: mask.threshold=0 "
        "selects every value above zero; any value other than 0.5 turns this check off",
    )


def _is_lost(values: MaskValues, below: np.ndarray, flat: np.ndarray, enough: float, threshold: float) -> bool:
    """Return whether flat areas below the threshold are labels, by a gap in the values or by their colours."""
    half_way = max(1, math.ceil(threshold * values.full_scale)) // 2
    has_gap = not (below & (values.numbers >= half_way)).any()
    if has_gap or values.colours is None:
        return bool(has_gap and np.count_nonzero(flat) > enough)
    colours = values.colours[flat]
    differences = colours.max(axis=1, initial=0) - colours.min(axis=1, initial=np.iinfo(colours.dtype).max)
    colourful = colours[differences > COLOURFUL * (values.full_scale // 255)]
    return len(colourful) > enough and len(np.unique(colourful[:, :3] @ _AS_ONE)) <= MAX_LABELS


_AS_ONE = np.array([1 << 32, 1 << 16, 1])  # three channels of up to 16 bits as one number


def _flat(numbers: np.ndarray) -> np.ndarray:
    """Return pixels that equal all eight neighbours, (H, W) bool; false at the border."""
    flat = np.zeros(numbers.shape, bool)
    sideways = (numbers[:, 1:-1] == numbers[:, :-2]) & (numbers[:, 1:-1] == numbers[:, 2:])
    middle = numbers[:, 1:-1]
    flat[1:-1, 1:-1] = (
        sideways[:-2] & sideways[1:-1] & sideways[2:] & (middle[1:-1] == middle[:-2]) & (middle[1:-1] == middle[2:])
    )
    return flat


def _is_slope(numbers: np.ndarray, mask: np.ndarray, flat: np.ndarray) -> bool:
    """Return whether values below the threshold change in small steps, as those of faint soft shapes do."""
    found = np.unique(numbers[flat])
    if len(found) < MIN_SLOPE_VALUES:
        return False
    most, steps, small = max(1, int(found[-1]) // SMALL_STEP), 0, 0
    for before, behind in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        one, other = numbers[before], numbers[behind]
        differs = (one != other) & ~mask[before] & ~mask[behind]
        sizes = np.abs(one[differs].astype(np.int32) - other[differs])
        steps += len(sizes)
        small += int(np.count_nonzero(sizes <= most))
    return small >= MIN_SLOPE_SHARE * steps


def _touched(areas: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the 8-connected areas that contain a pixel of the mask, (H, W) bool."""
    numbered, count = ndimage.label(areas, np.ones((3, 3)))
    is_touched = np.zeros(count + 1, bool)
    is_touched[numbered[mask]] = True
    return is_touched[numbered]
