"""The small model that ships: what it promises on photos that it never saw."""

import numpy as np
import pytest

from moebius import Inpainter, InpaintSettings
from moebius.weights.files import NANO_FOLDER, find_weights
from pipeline.evaluation.baselines import BASELINES
from pipeline.evaluation.metrics import psnr
from pipeline.evaluation.photos import read_square
from tests.conftest import ROOT

UNSEEN = ("dust-bowl-home", "heron", "osprey", "otters", "two-trees", "wren")  # of the demo, without a watermark


def test_nano_is_trained_small_and_credits_its_photos():
    weights = find_weights("nano")
    assert weights.trained and not weights.fingerprint.startswith("untrained")
    assert sum(path.stat().st_size for path in NANO_FOLDER.rglob("*") if path.is_file()) < 25e6
    used = {line.split("\t")[0] for line in (NANO_FOLDER / "CREDITS.tsv").read_text().splitlines()[1:]}
    unseen = set((NANO_FOLDER / "HELD_OUT.txt").read_text().split())
    assert len(used) > 400 and len(unseen) >= 24 and not used & unseen


def test_nothing_of_what_is_in_a_hole_shows_at_any_strength():
    mask = np.zeros((128, 128), bool)
    mask[40:80, 50:90] = True
    photo = read_square(ROOT / "tests" / "photos" / "images" / "wren.jpg", 128)
    scribbled = np.where(mask[..., None], [255, 0, 0], photo).astype(np.uint8)
    inpainter = Inpainter.from_pretrained("nano", InpaintSettings(steps=3, guidance=1, strength=0.7))
    first, second = (inpainter([image], [mask], [1])[0] for image in (photo, scribbled))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(("shape", "least_gain_db"), [("box", 0), ("line", 8)])
def test_nano_fills_unseen_photos_with_what_is_around(shape, least_gain_db):
    mask = np.zeros((256, 256), bool)
    if shape == "box":
        mask[100:150, 90:150] = True
    else:
        mask[120:126, 20:236] = True
    photos = [read_square(ROOT / "tests" / "photos" / "images" / f"{name}.jpg", 256) for name in UNSEEN]
    blanked = [np.where(mask[..., None], 0, photo).astype(np.uint8) for photo in photos]
    fills = Inpainter.from_pretrained("nano", InpaintSettings(steps=4, guidance=1, strength=1))(
        blanked, [mask] * len(photos), range(len(photos))
    )
    gains = []
    for photo, blank, fill in zip(photos, blanked, fills, strict=True):
        assert np.array_equal(fill[~mask], photo[~mask])
        gains.append(psnr(photo, fill, mask) - psnr(photo, BASELINES["mean"](blank, mask), mask))
    assert np.mean(gains) > least_gain_db, gains
