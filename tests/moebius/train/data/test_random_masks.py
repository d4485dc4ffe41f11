import numpy as np
import pytest

from moebius.train.data.random_masks import BRUSHES, random_mask
from moebius.train.settings import TrainSettings


@pytest.mark.parametrize("kind", BRUSHES)
def test_a_mask_is_decided_by_its_generator_and_has_a_hole(kind):
    first, again, other = (random_mask(128, np.random.default_rng(seed), [kind]) for seed in (1, 1, 2))
    assert first.shape == (128, 128) and first.dtype == bool
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert 0 < first.mean() < 1


def test_thick_masks_hide_more_than_thin_ones_at_every_size():
    for size in (64, 256):
        shares = {
            kind: np.mean([random_mask(size, np.random.default_rng(seed), [kind]).mean() for seed in range(40)])
            for kind in BRUSHES
        }
        assert shares["thin"] < shares["thick"], (size, shares)


def test_settings_name_the_kinds_that_are_drawn():
    settings = TrainSettings(mode="vae", photos="photos.npz", masks=["boxes"])
    mask = random_mask(128, np.random.default_rng(0), settings.masks)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert mask[rows[0] : rows[-1], columns[0]].any() and settings.masks == ("boxes",)
    for masks in ((), ("boxes", "stars")):
        with pytest.raises(ValueError, match="masks must be some of thin, medium, thick, boxes"):
            TrainSettings(mode="vae", photos="photos.npz", masks=masks)
