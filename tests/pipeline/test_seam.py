import numpy as np

from pipeline.seam import seam_score
from tests.conftest import textured
from tests.seam_calibration import calibrate


def test_score_tells_a_broken_fill_from_the_photo_itself():
    photo, mask = textured(80, 80), np.zeros((80, 80), bool)
    mask[20:50, 30:60] = True
    broken = photo.copy()
    broken[mask] = 255 - broken[mask] // 2
    assert abs(seam_score(photo, mask)) < 3
    assert seam_score(broken, mask) > 30


def test_no_border_has_no_score():
    photo = textured(10, 10)
    assert seam_score(photo, np.ones((10, 10), bool)) is None
    assert seam_score(photo, np.zeros((10, 10), bool)) is None
    assert seam_score(photo[:1, :1], np.ones((1, 1), bool)) is None


def test_broken_fills_of_real_photos_score_higher_than_good_ones():
    scores = calibrate()
    assert sum(map(len, scores.broken.values())) >= 50
    assert scores.auc() > 0.985
    assert {kind: scores.auc(kind) for kind in scores.broken if scores.auc(kind) < 0.99}.keys() <= {"blurred"}
    assert scores.auc("blurred") > 0.9
    good = np.concatenate(list(scores.good.values()))
    assert np.quantile(np.abs(good), 0.95) < 2  # what the documentation says of good fills
