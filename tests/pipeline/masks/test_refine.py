import numpy as np
import pytest

from pipeline.config.job import MaskConfig
from pipeline.masks.refine import refine


def point() -> np.ndarray:
    mask = np.zeros((7, 7), bool)
    mask[3, 3] = True
    return mask


def test_inverting_repaints_all_other_pixels():
    assert np.array_equal(refine(point(), MaskConfig(invert=True)), ~point())


def test_inverting_precedes_dilating():
    assert refine(~point(), MaskConfig(invert=True, dilate_px=1)).sum() == 9


def test_dilating_grows_a_square():
    dilated = refine(point(), MaskConfig(dilate_px=2))
    assert dilated.sum() == 25 and dilated[1:6, 1:6].all()


@pytest.mark.parametrize("key", ["dilate_px", "close_px"])
def test_growth_beyond_the_image_covers_it(key):
    assert refine(point(), MaskConfig(**{key: 1 << 30})).all()


def test_closing_joins_what_is_near_and_leaves_what_is_far():
    gaps = np.zeros((9, 20), bool)
    gaps[2:7, [2, 3, 4, 7, 8, 9, 16, 17]] = True
    closed = refine(gaps, MaskConfig(close_px=1))
    assert closed[2:7, 2:10].all() and not closed[:, 11:15].any()
    assert closed.sum() == 5 * 10
