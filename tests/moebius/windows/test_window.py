import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moebius.windows.window import cut_window, paste_window, plan_windows
from tests.conftest import textured

SIZE = 64


def blobs(height: int, width: int, boxes: list[tuple[float, float, float, float]]) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    for top, left, tall, wide in boxes:
        row, column = int(top * height), int(left * width)
        mask[row : row + 1 + int(tall * height), column : column + 1 + int(wide * width)] = True
    return mask


unit = st.floats(0, 0.999)
masks = st.builds(
    blobs,
    st.integers(1, 300),
    st.integers(1, 300),
    st.lists(st.tuples(unit, unit, unit, unit), max_size=12),
)


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


@given(mask=masks, seed=st.integers(0, 9), context=st.floats(1, 3), max_upscale=st.sampled_from([1, 1.5, 8, 16]))
@settings(deadline=None, max_examples=150)
def test_pasting_changes_exactly_the_masked_pixels(mask, seed, context, max_upscale):
    image = textured(*mask.shape, seed)
    result = image.copy()
    windows = plan_windows(mask, SIZE, context, max_upscale)
    for window in windows:
        pixels, hole = cut_window(image, mask, window, SIZE)
        assert pixels.shape == (SIZE, SIZE, 3) and hole.shape == (SIZE, SIZE)
        paste_window(result, mask, window, 255 - pixels)
    assert np.array_equal(result[~mask], image[~mask])
    if all(
        window.side_px == SIZE for window in windows
    ):  # at native resolution what the model made is what is pasted, pixel for pixel
        assert np.array_equal(result[mask], 255 - image[mask])


def test_empty_mask_has_no_window():
    assert plan_windows(np.zeros((50, 70), bool), SIZE) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (63, 65), (200, 3000)])
def test_whole_image_masked_falls_back_to_the_whole_image(shape):
    mask = np.ones(shape, bool)
    windows = plan_windows(mask, SIZE)
    assert len(windows) == 1
    assert windows[0].side_px == max(*shape, SIZE)
    _, hole = cut_window(textured(*shape), mask, windows[0], SIZE)
    assert hole.all()


def test_small_hole_in_a_large_photo_is_seen_at_native_resolution():
    mask = np.zeros((3000, 4000), bool)
    mask[1500:1530, 2000:2040] = True
    (window,) = plan_windows(mask, SIZE)
    assert window.side_px == SIZE
    image = textured(3000, 4000)
    pixels, _ = cut_window(image, mask, window, SIZE)
    assert np.array_equal(pixels, image[window.top : window.top + SIZE, window.left : window.left + SIZE])


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


def test_photo_smaller_than_the_window_is_mirrored_with_its_hole():
    image, mask = textured(20, 30), np.zeros((20, 30), bool)
    mask[:, :4] = True
    (window,) = plan_windows(mask, SIZE)
    pixels, hole = cut_window(image, mask, window, SIZE)
    top, left = -window.top, -window.left
    assert np.array_equal(pixels[top : top + 20, left : left + 30], image)
    assert np.array_equal(pixels[top, left - 5 : left], image[0, :5][::-1])
    assert hole[top, left - 4 : left].all()  # the mirror of a hole is a hole: nothing of it shows through


def test_scaled_mask_covers_every_pixel_that_it_touches():
    mask = np.zeros((640, 640), bool)
    mask[::97, 5] = mask[320, 100:500] = True
    window = plan_windows(np.ones((640, 640), bool), SIZE)[0]
    _, hole = cut_window(textured(640, 640), mask, window, SIZE)
    rows, columns = np.nonzero(mask)
    assert hole[rows // 10, columns // 10].all()
    assert hole.sum() == len({(row // 10, column // 10) for row, column in zip(rows, columns, strict=True)})


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


@pytest.mark.parametrize("shape", [(300, 65_535), (1, 500_000), (500_000, 3)])
def test_long_hole_in_a_long_photo_needs_little_memory(shape):
    image, mask = np.full((*shape, 3), 90, np.uint8), np.zeros(shape, bool)
    mask[0, 5:-5] = mask[5:-5, 0] = True
    window = max(plan_windows(mask, SIZE), key=lambda window: window.side_px)
    tracemalloc.start()
    pixels, hole = cut_window(image, mask, window, SIZE)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (pixels == 90).all() and hole.any()
    assert peak_bytes < 200e6


def test_scaled_window_equals_an_area_average():
    image, mask = textured(640, 640), np.ones((640, 640), bool)
    (window,) = plan_windows(mask, SIZE)
    pixels, _ = cut_window(image, mask, window, SIZE)
    average = image.reshape(SIZE, 10, SIZE, 10, 3).mean(axis=(1, 3))
    assert np.abs(pixels - average).max() <= 0.51


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


@given(mask=masks, context=st.floats(1, 3), max_upscale=st.sampled_from([1, 1.3, 2, 7]), level=st.integers(0, 255))
@settings(deadline=None, max_examples=150)
def test_nothing_under_the_mask_shows_outside_of_it(mask, context, max_upscale, level):
    image = textured(*mask.shape)
    other = np.where(mask[..., None], np.uint8(level), image)
    for window in plan_windows(mask, SIZE, context, max_upscale):
        (pixels, hole), (others, same_hole) = (cut_window(photo, mask, window, SIZE) for photo in (image, other))
        assert np.array_equal(hole, same_hole)
        assert np.array_equal(pixels[~hole], others[~hole])


def test_magnified_surroundings_go_on_into_the_hole_as_the_photo_does():
    image, mask = np.full((200, 200, 3), 128, np.uint8), np.zeros((200, 200), bool)
    mask[90:106, 90:106] = True
    image[mask] = (255, 0, 0)
    (window,) = plan_windows(mask, SIZE, max_upscale=2)
    pixels, hole = cut_window(image, mask, window, SIZE)
    assert window.side_px == SIZE // 2
    assert (pixels[~hole] == 128).all() and pixels[hole][:, 0].max() == 255
