import numpy as np
import pytest
import torch

from moebius.train.photos import PhotoCrops, held_out


def test_crops_are_decided_by_their_generator(packed_photos):
    crops = PhotoCrops(packed_photos, 64)
    first, again, other = (crops.batch(4, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (4, 3, 64, 64) and first.min() >= -1 and first.max() <= 1
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_photos_smaller_than_the_crops_are_refused(packed_photos):
    with pytest.raises(ValueError, match="at least 145 px, got one of 144"):
        PhotoCrops(packed_photos, 145)


def test_what_is_held_out_does_not_depend_on_the_order():
    names = [f"{index}.jpg" for index in range(50)]
    aside = held_out(names, 7)
    assert len(aside) == 7 and held_out(names[::-1], 7) == aside
