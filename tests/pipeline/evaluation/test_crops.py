import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.crops import CROP_PX, MAX_CROPS, crop_boxes


@given(st.integers(64, 700), st.integers(64, 700), st.integers(0, 2**32 - 1))
def test_crops_are_squares_inside_the_photo_that_hold_some_hole(height, width, seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), bool)
    top, left = rng.integers(height), rng.integers(width)
    mask[top : top + rng.integers(1, height), left : left + rng.integers(1, width)] = True
    found = crop_boxes(mask)
    assert 1 <= len(found) <= MAX_CROPS
    for box in found:
        crop = mask[box.slices]
        assert crop.shape == (min(CROP_PX, height), min(CROP_PX, width)) and crop.any()


def test_crops_do_not_overlap_and_those_with_most_hole_are_kept():
    mask = np.zeros((640, 640), bool)
    mask[:, ::2] = True
    mask[:128] = True
    found = crop_boxes(mask)
    seen = np.zeros(mask.shape, int)
    for box in found:
        seen[box.slices] += 1
    assert seen.max() == 1 and len(found) == MAX_CROPS and seen[:128].all()


def test_empty_mask_has_no_crops():
    with pytest.raises(ValueError, match="empty"):
        crop_boxes(np.zeros((64, 64), bool))
