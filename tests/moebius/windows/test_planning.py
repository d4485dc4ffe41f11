import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moebius.windows import plan_windows
from tests.moebius.windows.masks import masks

SIZE = 64


@given(mask=masks, context=st.floats(1, 3), max_upscale=st.floats(1, 4))
@settings(deadline=None, max_examples=150)
def test_every_masked_pixel_has_one_window_that_shows_it(mask, context, max_upscale):
    owners = np.zeros(mask.shape, int)
    for window in plan_windows(mask, SIZE, context, max_upscale):
        owned = window.owned(mask)
        assert owned.any()
        owners[window.hole.slices] += owned
        rows, columns = np.nonzero(owned)
        rows, columns = rows + window.hole.top, columns + window.hole.left
        assert window.top <= rows.min() and rows.max() < window.top + window.side_px
        assert window.left <= columns.min() and columns.max() < window.left + window.side_px
        assert window.side_px >= SIZE / max_upscale
        assert window.side_px <= max(*mask.shape, SIZE)
    assert np.array_equal(owners, mask.astype(int))


def test_empty_mask_has_no_window():
    assert plan_windows(np.zeros((50, 70), bool), SIZE) == []


def test_hole_that_does_not_fit_is_scaled_down_with_its_context():
    mask = np.zeros((3000, 4000), bool)
    mask[1000:1200, 1000:1100] = True
    (window,) = plan_windows(mask, SIZE, context=1.5)
    assert window.side_px == 300


def test_a_long_hole_is_cut_where_it_is_thin_and_every_piece_is_seen_at_native_resolution():
    mask = np.zeros((1000, 1000), bool)
    rows = np.arange(100, 900)
    for offset in range(6):  # a scratch, six pixels wide
        mask[rows, rows + offset] = True
    mask[400:407, 100:900] = True  # and a wire across it
    windows = plan_windows(mask, SIZE)
    assert {window.side_px for window in windows} == {SIZE} and 20 < len(windows) < 100
    assert sum(window.owned(mask).sum() for window in windows) == mask.sum()
    mask[600:700, 600:700] = True  # a blot on it is too large for a window, the scratch is not
    blot, *others = plan_windows(mask, SIZE)
    assert 150 <= blot.side_px < 250 and {window.side_px for window in others} == {SIZE}
    assert blot.owned(mask).sum() >= 100 * 100


def test_neighbouring_letters_share_a_window_and_distant_ones_do_not():
    mask = np.zeros((400, 2000), bool)
    mask[100:120, 100:110] = mask[100:120, 120:130] = True
    mask[100:120, 1500:1510] = True
    assert len(plan_windows(mask, SIZE)) == 2


def test_small_hole_inside_a_frame_keeps_its_resolution():
    mask = np.zeros((1000, 1000), bool)
    mask[:20], mask[-20:], mask[:, :20], mask[:, -20:] = True, True, True, True
    mask[500:520, 500:520] = True
    frame, hole = plan_windows(mask, SIZE)
    assert frame.side_px == 1000 and hole.side_px == SIZE


@pytest.mark.parametrize("corner", [(0, 0), (0, 190), (140, 0), (140, 190)])
def test_hole_in_a_corner_has_its_window_inside_the_photo(corner):
    mask = np.zeros((150, 200), bool)
    mask[corner[0] : corner[0] + 10, corner[1] : corner[1] + 10] = True
    (window,) = plan_windows(mask, SIZE)
    assert 0 <= window.top <= 150 - SIZE and 0 <= window.left <= 200 - SIZE


def test_two_hundred_megapixels_with_holes_of_all_sizes():
    generator = np.random.default_rng(0)
    mask = np.zeros((14_142, 14_142), bool)
    for _ in range(400):
        row, column, side = *generator.integers(0, 14_000, 2), int(generator.integers(1, 900))
        mask[row : row + side, column : column + side // 2 + 1] = True
    owners = np.zeros(mask.shape, np.uint8)
    for window in plan_windows(mask, 512):
        owners[window.hole.slices] += window.owned(mask)
    assert np.array_equal(owners, mask)


def test_holes_of_a_photo_no_larger_than_the_square_share_one_window():
    for shape in ((64, 64), (40, 64), (33, 21)):
        mask = np.zeros(shape, bool)
        mask[2:8, 2:8] = mask[-8:-2, -8:-2] = mask[2:8, -8:-2] = True
        (window,) = plan_windows(mask, SIZE)
        assert window.side_px == SIZE and window.owned(mask).sum() == mask.sum()


@given(mask=masks, context=st.floats(1, 3), max_upscale=st.sampled_from([1, 1.5, 8]))
@settings(deadline=None, max_examples=150)
def test_no_window_shows_what_another_shows_at_least_as_large(mask, context, max_upscale):
    windows = plan_windows(mask, SIZE, context, max_upscale)
    for inner in windows:
        for outer in windows:
            holds = all(
                start <= other and other + inner.side_px <= start + outer.side_px
                for start, other in ((outer.top, inner.top), (outer.left, inner.left))
            )
            assert inner is outer or not holds or outer.side_px > max(SIZE, inner.side_px)


def test_holes_in_one_corner_of_a_large_photo_share_its_window():
    mask = np.zeros((500, 500), bool)
    mask[:4, :4] = mask[18:46, 18:46] = True  # too far apart for one group, but both in the corner
    windows = plan_windows(mask, SIZE, context=1.5)
    assert len(windows) == len({(window.top, window.left, window.side_px) for window in windows}) == 1
