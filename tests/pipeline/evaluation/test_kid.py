import numpy as np
import pytest

from pipeline.evaluation import kid
from pipeline.evaluation.kid import kernel_distance


def by_double_loop(truth, filled, photos):
    """The mean over all pairs of crops from different photos, as the formula says."""

    def kernel(x, y):
        return (np.dot(x, y) / len(x) + 1) ** 3

    values = [
        kernel(truth[i], truth[j])
        + kernel(filled[i], filled[j])
        - kernel(truth[i], filled[j])
        - kernel(truth[j], filled[i])
        for i in range(len(truth))
        for j in range(len(truth))
        if photos[i] != photos[j]
    ]
    return np.mean(values)


@pytest.mark.parametrize("block", [1, 7, 512])
def test_estimate_and_its_error_are_those_of_their_definitions(monkeypatch, block):
    monkeypatch.setattr(kid, "BLOCK", block)
    rng = np.random.default_rng(0)
    truth, filled = rng.normal(size=(20, 5)), rng.normal(0.3, 1.2, size=(20, 5))
    photos = np.array([0, 0, 0, 1, 2, 2, 3, 3, 3, 3, 4, 5, 5, 6, 6, 6, 7, 8, 8, 9])
    found = kernel_distance(truth, filled, photos)
    assert found.value == pytest.approx(by_double_loop(truth, filled, photos))
    without = [
        by_double_loop(truth[photos != left], filled[photos != left], photos[photos != left]) for left in range(10)
    ]
    assert found.error == pytest.approx(np.sqrt(9 / 10 * np.square(without - np.mean(without)).sum()))


def test_halves_of_one_set_are_near_and_another_set_is_far():
    rng = np.random.default_rng(1)
    for _ in range(10):
        truth, filled = rng.normal(size=(2, 300, 16))
        found = kernel_distance(truth, filled, np.arange(300))
        assert abs(found.value) < 4 * found.error
        moved = kernel_distance(truth, filled + 0.5, np.arange(300))
        assert moved.value > 4 * moved.error > 0


def test_crops_that_share_their_photo_do_not_pull_the_estimate_below_zero():
    """Both halves have what is typical of their photo, so that pairs of one photo look alike."""
    rng, values = np.random.default_rng(2), []
    for _ in range(60):
        of_photo = np.repeat(rng.normal(size=(30, 8)), 4, axis=0)
        truth, filled = (of_photo + 0.1 * rng.normal(size=of_photo.shape) for _ in range(2))
        values.append(kernel_distance(truth, filled, np.arange(120) // 4).value)
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(60)


def test_crops_of_one_photo_give_no_estimate():
    with pytest.raises(ValueError, match="at least two photos"):
        kernel_distance(np.ones((4, 2)), np.ones((4, 2)), np.zeros(4))
