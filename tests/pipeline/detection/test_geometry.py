from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.detection import geometry
from pipeline.detection.geometry import GREY, TILE_OVERLAP, Placement, draw_boxes, tiles

LEAST = 0.4713  # which no pixel has exactly
SIDES = st.integers(1, 300)
SIZES = st.sampled_from([(64, 64), (96, 64), (33, 80)])


def letterboxed(rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """What OpenCV makes of the usual recipe: scale, then half of what is missing on either side."""
    height, width = rgb.shape[:2]
    ratio = min(size[1] / height, size[0] / width)
    scaled = cv2.resize(
        rgb, (max(1, round(width * ratio)), max(1, round(height * ratio))), interpolation=cv2.INTER_LINEAR
    )
    down, right = (total - side for total, side in zip(size[::-1], scaled.shape, strict=False))
    edges = [round(down / 2 - 0.1), round(down / 2 + 0.1), round(right / 2 - 0.1), round(right / 2 + 0.1)]
    return cv2.copyMakeBorder(scaled, *edges, cv2.BORDER_CONSTANT, value=(GREY,) * 3)


@given(SIDES, SIDES, SIZES)
@settings(max_examples=60, deadline=None)
def test_letterbox_puts_a_photo_where_the_usual_recipe_does(width, height, size):
    rgb = np.full((height, width, 3), 255, np.uint8)
    assert np.array_equal(Placement.of((width, height), size, "letterbox").put(rgb), letterboxed(rgb, size))


@given(SIDES, SIDES, SIZES, st.sampled_from(["letterbox", "stretch"]))
@settings(max_examples=60, deadline=None)
def test_box_of_the_photo_comes_back_from_the_input(width, height, size, fit):
    placement = Placement.of((width, height), size, fit)
    in_input = [placement.left, placement.top, placement.left + placement.width, placement.top + placement.height]
    boxes = placement.boxes_of_photo(np.array([in_input, [-9, -9, 999, 999]], np.float32))
    assert np.allclose(boxes, [[0, 0, width, height]] * 2, atol=1e-3)


@given(st.integers(2, 90), st.integers(2, 90), SIZES, st.sampled_from(["letterbox", "stretch"]), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_pixel_of_the_photo_gets_the_value_of_the_map_at_its_place(width, height, size, fit, factor):
    """Each pixel of the photo gets the value at its centre, whatever the map's own size is, and in bands."""
    placement = Placement.of((width, height), size, fit)
    ramp = np.add.outer(np.linspace(0, 1, size[1] * factor // 2 + 2), np.linspace(0, 1, size[0] * factor // 2 + 2)) / 2
    chances = ramp.astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geometry, "ROWS_AT_ONCE", 7)
        bands = [pixels for _, pixels in placement.pixels_of_photo(chances, LEAST)]
    whole = [pixels for _, pixels in placement.pixels_of_photo(chances, LEAST)]
    found = np.concatenate(bands)
    assert found.shape == (height, width) and np.array_equal(found, np.concatenate(whole))
    x = (placement.left + (np.arange(width) + 0.5) * placement.width / width) / size[0]
    y = (placement.top + (np.arange(height) + 0.5) * placement.height / height) / size[1]
    sides = chances.shape
    along = [np.clip((part * side - 0.5) / (side - 1), 0, 1) for part, side in ((y, sides[0]), (x, sides[1]))]
    expected = np.add.outer(*along) / 2
    margin = 1.5 / min(sides) + 1.5 / min(width, height)
    assert found[expected > LEAST + margin].all() and not found[expected < LEAST - margin].any()


@given(st.integers(1, 2000), st.integers(1, 2000), st.sampled_from([64, 100, 640]))
@settings(max_examples=80, deadline=None)
def test_tiles_cover_a_photo_and_overlap(width, height, tile_px):
    found = tiles((width, height), tile_px)
    for low, high, side in ((0, 2, width), (1, 3, height)):
        spans = sorted({(tile[low], tile[high]) for tile in found})
        assert spans[0][0] == 0 and spans[-1][1] == side
        assert all(end - start == min(side, tile_px) for start, end in spans)
        overlaps = [end - start for (_, end), (start, _) in pairwise(spans)]
        assert all(overlap >= TILE_OVERLAP * tile_px - 1 for overlap in overlaps)
    assert tiles((width, height), 0) == [(0, 0, width, height)]


def test_box_covers_every_pixel_that_it_touches_and_no_other():
    canvas = np.zeros((6, 8), bool)
    draw_boxes(canvas, np.array([[1.2, 2.0, 3.1, 4.0], [-5, 5.5, 1, 99], [20, 20, 30, 30]]))
    expected = np.zeros((6, 8), bool)
    expected[2:4, 1:4] = expected[5:6, 0:1] = True
    assert np.array_equal(canvas, expected)
