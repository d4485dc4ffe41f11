import numpy as np
import pytest

from pipeline.evaluation_masks import MASKS, draw_mask


@pytest.mark.parametrize("kind", MASKS)
def test_a_hole_depends_on_kind_name_and_seed_alone(kind):
    first = draw_mask(kind, "a.jpg", 0, 120, 200)
    assert first.shape == (120, 200) and first.dtype == bool
    assert np.array_equal(first, draw_mask(kind, "a.jpg", 0, 120, 200))
    assert not np.array_equal(first, draw_mask(kind, "b.jpg", 0, 120, 200))
    assert not np.array_equal(first, draw_mask(kind, "a.jpg", 1, 120, 200))


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("shape", [(64, 64), (64, 300), (300, 64)])
def test_holes_are_never_empty_nor_most_of_a_photo(kind, shape):
    for seed in range(5):
        assert 0 < draw_mask(kind, "a.jpg", seed, *shape).mean() <= 0.5
