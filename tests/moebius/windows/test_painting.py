import tracemalloc

import numpy as np
import pytest

import moebius.windows.tiles
from moebius.windows import Box, plan_windows
from moebius.windows.painting import Painting, SecondPass
from moebius.windows.seam import border_colours
from tests.conftest import textured

SIZE = 64


def painting_of(image, mask, result, is_refined=True, size_px=SIZE):
    windows, second = plan_windows(mask, size_px), SecondPass(size_px, 0.5) if is_refined else None
    return Painting(image, mask, windows, result, Box(0, 0, *mask.shape), second)


def paint(image, mask, fill, **settings):
    """Run all rounds; returns the result and the names of all windows."""
    result = image.copy()
    painting, names = painting_of(image, mask, result, **settings), []
    while True:
        cuts = [painting.cut(number, SIZE) for number in range(painting.count)]
        names += [painting.name(number) for number in range(painting.count)]
        for number, (pixels, hole) in enumerate(cuts):
            painting.paste(number, fill(pixels, hole))
        if not painting.advance():
            return result, names


@pytest.fixture
def photo():
    return textured(260, 330)


@pytest.fixture
def mask():
    hole = np.zeros((260, 330), bool)
    hole[30:230, 0:150] = True
    hole[100:120, 60:90] = False
    hole[240:250, 300:310] = True
    return hole


def test_rounds_change_nothing_outside_the_mask_and_all_of_it(photo, mask):
    result, names = paint(photo, mask, lambda pixels, hole: np.full_like(pixels, 255))
    assert np.array_equal(result[~mask], photo[~mask])
    assert (result[mask] == 255).all()
    assert len(names) == len(set(names)) > 10


def test_second_pass_is_shown_the_first_fill_and_the_photo_around_it(photo, mask):
    painting, cuts = painting_of(photo, mask, photo.copy()), []
    while painting.count:
        cuts = [painting.cut(number, SIZE) for number in range(painting.count)]
        for number, (pixels, _) in enumerate(cuts):
            painting.paste(number, np.full_like(pixels, 7))
        if not painting.advance():
            break
    assert all((pixels[hole] == 7).all() for pixels, hole in cuts)  # those of the last round, at native resolution
    assert any(hole.any() and (pixels[~hole] > 7).any() for pixels, hole in cuts)


def test_second_pass_that_returns_what_it_is_shown_changes_nothing_at_native_resolution(photo, mask):
    windows = plan_windows(mask, SIZE)
    result = photo.copy()
    painting = painting_of(photo, mask, result)
    for number in range(painting.count):
        painting.paste(number, painting.cut(number, SIZE)[0][::-1])
    coarse = None
    while painting.advance():
        if painting.cut(0, SIZE)[0].shape and painting._band.scale == 1 and coarse is None:
            coarse = result.copy()
        for number in range(painting.count):
            painting.paste(number, painting.cut(number, SIZE)[0])
    assert len(windows) == 2 and np.array_equal(result, coarse)


def test_no_rounds_follow_without_a_second_pass_or_where_all_holes_fit(photo, mask):
    small = np.zeros_like(mask)
    small[10:40, 20:50] = True
    for hole, is_refined in ((mask, False), (small, True)):
        painting = painting_of(photo, hole, photo.copy(), is_refined)
        assert painting.refined_count == 0 and not painting.advance()


def test_result_does_not_depend_on_how_many_rows_are_blended_at_once(photo, mask, monkeypatch):
    def fill(pixels, hole):
        return np.where(hole[..., None], pixels // 2 + np.arange(SIZE, dtype=np.uint8)[:, None], pixels)

    whole, names = paint(photo, mask, fill)
    rounds = len(list(moebius.windows.tiles.plan_bands(plan_windows(mask, SIZE), mask.shape, SIZE)))
    monkeypatch.setattr(moebius.windows.tiles, "MAX_BAND_PX", 1)
    banded, same_names = paint(photo, mask, fill)
    assert len(list(moebius.windows.tiles.plan_bands(plan_windows(mask, SIZE), mask.shape, SIZE))) > rounds
    assert sorted(names) == sorted(same_names)
    assert np.abs(whole.astype(int) - banded).max() <= 1


@pytest.mark.slow
def test_memory_of_a_very_large_hole_is_bounded_by_what_is_blended_at_once():
    image, mask = np.zeros((5000, 6000, 3), np.uint8), np.zeros((5000, 6000), bool)
    mask[200:4800, 300:5800] = True
    result, peaks = image.copy(), []
    painting = painting_of(image, mask, result, size_px=512)
    tracemalloc.start()
    for _ in range(3):
        for number in range(painting.count):
            painting.paste(number, np.full((512, 512, 3), 9, np.uint8))
            painting.cut(number, 512)
        peaks.append(tracemalloc.get_traced_memory()[1])
        painting.advance()
    tracemalloc.stop()
    assert max(peaks) < 400e6


@pytest.mark.parametrize("order", range(6))
def test_of_the_candidates_of_a_window_the_one_with_the_least_seam_is_kept_whatever_their_order(photo, order):
    mask = np.zeros((260, 330), bool)
    mask[40:70, 50:90] = mask[200:215, 300:330] = True
    windows, fills = plan_windows(mask, SIZE), [0, 90, 120]
    result = photo.copy()
    painting = Painting(photo, mask, windows, result, Box(0, 0, *mask.shape), candidates=len(fills))
    assert painting.count == len(windows) * len(fills) == 6
    for number in np.random.default_rng(order).permutation(painting.count):
        painting.paste(number, np.full((SIZE, SIZE, 3), fills[number % len(fills)], np.uint8))
    for window in windows:
        own = np.zeros_like(mask)
        own[window.hole.slices] = window.owned(mask)
        scores = [border_colours(np.where(mask[..., None], fill, photo), mask, own).seam_score for fill in fills]
        assert len(set(scores)) == len(fills)
        assert (result[own] == fills[int(np.argmin(scores))]).all()
    assert np.array_equal(result[~mask], photo[~mask])


def test_first_candidate_is_the_only_fill_of_before_and_is_kept_among_equal_ones(photo):
    mask = np.zeros((260, 330), bool)
    mask[40:70, 50:90] = True
    windows = plan_windows(mask, SIZE)
    result = photo.copy()
    painting = Painting(photo, mask, windows, result, Box(0, 0, *mask.shape), candidates=3)
    assert [painting.name(number) for number in range(3)] == ["0", "0/candidate/1", "0/candidate/2"]
    inner = np.zeros((SIZE, SIZE, 3), np.uint8)
    for number in (2, 0, 1):  # fills that differ in the middle of the hole alone, where no border is
        inner[SIZE // 2, SIZE // 2] = number
        painting.paste(number, inner.copy())
    assert 0 in result[mask].max(axis=1) and result[mask].max() == 0
