import numpy as np
import pytest

from moebius.windows import plan_windows
from moebius.windows.tiles import WEIGHT_BITS, Axis, Blend, plan_bands

SIZE = 64


def box_mask(shape, rows, columns):
    mask = np.zeros(shape, bool)
    mask[rows, columns] = True
    return mask


def bands_of(mask, size_px=SIZE):
    return list(plan_bands(plan_windows(mask, size_px), mask.shape, size_px))


@pytest.mark.parametrize(
    "low, high, length", [(40, 200, 300), (0, 300, 300), (10, 30, 40), (250, 300, 300), (3, 997, 999)]
)
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_axis_reaches_over_the_hole_with_weights_that_sum_up_to_one(low, high, length, scale):
    axis = Axis.over(low, high, length, SIZE, scale)
    assert axis.origin <= low and high <= axis.origin + scale * axis.length
    gaps = np.diff(axis.starts)
    assert (gaps <= SIZE * 5 / 8 + 1).all() and np.ptp(gaps, axis=None) <= 1 if gaps.size else axis.starts == (0,)
    total = np.zeros(axis.length, int)
    for start, weights in zip(axis.starts, axis.weights, strict=True):
        total[start : start + SIZE] += weights
    assert (total == 1 << WEIGHT_BITS).all() and (axis.weights >= 0).all()


def test_hole_that_fits_a_window_has_no_second_pass():
    assert bands_of(box_mask((200, 300), slice(20, 60), slice(30, 72))) == []
    assert bands_of(np.zeros((200, 300), bool)) == []


def test_passes_halve_the_scale_until_they_are_at_native_resolution():
    scales = [band.scale for band in bands_of(box_mask((400, 500), slice(60, 330), slice(100, 420)))]
    assert scales == [4, 2, 1]


def test_tiles_cover_each_pixel_of_the_hole_and_have_names_of_their_own():
    mask = box_mask((300, 420), slice(0, 170), slice(200, 420)) | box_mask((300, 420), slice(200, 300), slice(10, 90))
    mask[:60, 200:260] = False
    names = set()
    for band in bands_of(mask):
        seen = np.zeros(mask.shape, bool)
        for tile in band.tiles:
            square = tile.square
            assert square.side_px == band.scale * SIZE
            top, left = max(square.top, 0), max(square.left, 0)
            seen[top : square.top + square.side_px, left : square.left + square.side_px] = True
            names.add((band.pass_number, tile.number))
        owned = np.zeros(mask.shape, bool)
        owned[band.window.hole.slices] = band.window.owned(mask)
        assert seen[owned].all()
    assert len(names) == sum(len(band.tiles) for band in bands_of(mask))


def test_blend_of_one_picture_cut_into_tiles_is_that_picture_in_any_order():
    mask = box_mask((300, 300), slice(50, 250), slice(40, 260))
    (band,) = [band for band in bands_of(mask) if band.scale == 1]
    picture = np.random.default_rng(0).integers(0, 256, (band.rows.length, band.columns.length, 3), dtype=np.uint8)
    results = []
    for tiles in (band.tiles, band.tiles[::-1]):
        blend = Blend(band)
        for tile in tiles:
            top, left = band.rows.starts[tile.row], band.columns.starts[tile.column]
            blend.add(tile, picture[top : top + SIZE, left : left + SIZE])
        results.append(blend.finish()[0])
    assert np.array_equal(*results) and np.array_equal(results[0], picture)


def test_tiles_that_differ_are_blended_equally_in_any_order():
    (band,) = [band for band in bands_of(box_mask((300, 300), slice(50, 250), slice(40, 260))) if band.scale == 1]
    fills = np.random.default_rng(0).integers(0, 256, (len(band.tiles), SIZE, SIZE, 3), dtype=np.uint8)
    results = []
    for order in (1, -1):
        blend = Blend(band)
        for tile, filled in list(zip(band.tiles, fills, strict=True))[::order]:
            blend.add(tile, filled)
        results.append(blend.finish()[0])
    assert np.array_equal(*results)
