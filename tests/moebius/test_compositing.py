import numpy as np
import pytest

from moebius.compositing import paste_published, ring_around, to_uint8
from tests.conftest import golden


@pytest.mark.parametrize(("compensate", "name"), [(False, "pasted"), (True, "compensated")])
def test_paste_equals_published_code_to_the_byte(compensate, name):
    expected = {key: value.numpy() for key, value in golden("paste").items()}
    raw = to_uint8(expected["generated"].transpose(1, 2, 0))
    assert np.array_equal(raw, expected["raw"])
    pasted = paste_published(expected["image"], raw, expected["mask"] > 127, compensate)
    assert np.array_equal(pasted, expected[name])


def test_not_finite_pixels_are_an_error():
    for value in (np.nan, np.inf):
        with pytest.raises(FloatingPointError, match="NaN or infinite"):
            to_uint8(np.full((2, 2, 3), value, np.float32))


def test_ring_of_a_mask_that_covers_all_is_empty():
    assert not ring_around(np.ones((4, 5), bool)).any()
    assert not ring_around(np.zeros((4, 5), bool)).any()
