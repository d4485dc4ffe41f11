import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moebius.windows import cut_window, paste_window, plan_windows
from tests.conftest import textured
from tests.moebius.windows.masks import masks

SIZE = 64


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
