from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy import ndimage

from moebius.train.data import random_masks
from moebius.train.data.random_masks import BRUSHES, random_mask
from moebius.train.settings import TrainSettings


@pytest.mark.parametrize("kind", BRUSHES)
def test_a_mask_is_decided_by_its_generator_and_has_a_hole(kind):
    first, again, other = (random_mask(128, np.random.default_rng(seed), [kind]) for seed in (1, 1, 2))
    assert first.shape == (128, 128) and first.dtype == bool
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert 0 < first.mean() < 1


@pytest.mark.parametrize(("kind", "most"), [("medium", 5), ("thick", 4)])
def test_a_mask_has_strokes_or_boxes_and_boxes_in_three_of_thirteen(kind, most, monkeypatch):
    monkeypatch.setitem(BRUSHES, kind, replace(BRUSHES[kind], dilated_share=0))
    drawn = {"boxes": [], "strokes": []}
    monkeypatch.setattr(random_masks, "_draw_box", lambda *_: drawn["boxes"].append(mask))
    monkeypatch.setattr(random_masks, "_draw_stroke", lambda *_: drawn["strokes"].append(mask))
    for mask in range(2000):
        random_mask(64, np.random.default_rng(mask), [kind])
    boxes, strokes = map(set, drawn.values())
    assert not boxes & strokes and len(boxes | strokes) == 2000
    assert len(boxes) / 2000 == pytest.approx(0.3 / 1.3, abs=0.03)
    counts = np.unique(drawn["boxes"], return_counts=True)[1]
    assert (counts.min(), counts.max()) == (1, most)


@pytest.mark.parametrize("size", [64, 512])
def test_masks_grow_as_by_the_filter_of_pillow(size, monkeypatch):
    def by_pillow(mask, side):
        return np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(side))) > 0

    ours = [random_mask(size, np.random.default_rng(seed)) for seed in range(6)]
    monkeypatch.setattr(ndimage, "maximum_filter", by_pillow)
    assert all(np.array_equal(mask, random_mask(size, np.random.default_rng(seed))) for seed, mask in enumerate(ours))


def test_thick_masks_hide_more_than_thin_ones():
    for size in (128, 256):
        shares = {
            kind: np.mean([random_mask(size, np.random.default_rng(seed), [kind]).mean() for seed in range(40)])
            for kind in BRUSHES
        }
        assert shares["fine"] < shares["thin"] < shares["thick"], (size, shares)


def test_fine_masks_are_thinner_than_thin_ones():
    def depth_px(kind):
        masks = [np.pad(random_mask(128, np.random.default_rng(seed), [kind]), 1) for seed in range(40)]
        return np.mean([ndimage.distance_transform_edt(mask)[mask].mean() for mask in masks])

    assert 1 < depth_px("fine") < 0.7 * depth_px("thin")


def test_settings_name_the_kinds_that_are_drawn():
    settings = TrainSettings(mode="vae", photos="photos.npz", masks=["boxes"])
    mask = random_mask(128, np.random.default_rng(0), settings.masks)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert mask[rows[0] : rows[-1], columns[0]].any() and settings.masks == ("boxes",)
    for masks in ((), ("boxes", "stars")):
        with pytest.raises(ValueError, match="masks must be some of thin, medium, thick, boxes, fine"):
            TrainSettings(mode="vae", photos="photos.npz", masks=masks)
