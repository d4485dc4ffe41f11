"""Marks of the user's own: placed, found, and computed out of photos."""

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from pipeline.codecs.decode import decode
from pipeline.codecs.photo import Photo
from pipeline.config.job import JobConfig, SinkConfig
from pipeline.config.mask import MaskConfig
from pipeline.errors import ConfigError, SampleError
from pipeline.masks.decode import draw_mask, read_mask
from pipeline.masks.mark.noise import noise_of, opacity_limit
from pipeline.masks.sizes import turn_back
from pipeline.records import FAILED, OK, Record
from pipeline.sources.inputs import Inputs
from pipeline.worker.sample import finish, prepare
from tests.conftest import ROOT, textured

LIMIT = 10**7


def logo(opacity: float, height: int = 40, width: int = 60) -> np.ndarray:
    """A ring in two colours, (height, width, 4) uint8; opaque at 1."""
    y, x = np.mgrid[:height, :width]
    radius = np.hypot((y - height / 2 + 0.5) / height, (x - width / 2 + 0.5) / width)
    layer = np.zeros((height, width, 4), np.uint8)
    layer[..., :3] = np.where((x < width // 2)[..., None], [250, 240, 20], [20, 60, 200])
    layer[..., 3] = np.rint(255 * opacity * np.clip((0.48 - radius) * 20, 0, 1) * np.clip((radius - 0.12) * 20, 0, 1))
    return layer


def png(layer: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(layer).save(stream, "PNG")
    return stream.getvalue()


def stamped(pixels: np.ndarray, layer: np.ndarray, left: int, top: int) -> np.ndarray:
    """The mark over a photo, (H, W, 3); what reaches over the border is cut off."""
    full = np.iinfo(pixels.dtype).max
    result = pixels.astype(float)
    rows, columns = slice(max(0, top), top + len(layer)), slice(max(0, left), left + layer.shape[1])
    part = layer[max(0, -top) :, max(0, -left) :][: len(pixels) - max(0, top), : pixels.shape[1] - max(0, left)]
    alpha = part[..., 3:] / 255
    result[rows, columns] = (1 - alpha) * result[rows, columns] + alpha * part[..., :3] / 255 * full
    return np.rint(result).astype(pixels.dtype)


def photo_of(pixels: np.ndarray, mode: str = "RGB") -> Photo:
    return Photo(pixels, mode, "PNG")


def config(**keys) -> MaskConfig:
    return MaskConfig(kind="mark", uri="logo.png", **keys)


def smooth(height: int = 90, width: int = 120, seed: int = 0) -> np.ndarray:
    """A photo without colours near black and white."""
    return textured(height, width, seed) // 2 + 60


PHOTO, LOGO = smooth(), logo(0.5)


@given(st.integers(0, 60), st.integers(0, 50), st.floats(0.1, 0.9), st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_photo_under_a_mark_comes_back_within_rounding_and_nothing_else_changes(left, top, opacity, seed):
    truth, layer = smooth(seed=seed), logo(opacity)
    marked = stamped(truth, layer, left, top)
    drawn = draw_mask(png(layer), photo_of(marked), config(offset=[left, top]), LIMIT)
    assert drawn.restored is not None and drawn.computed is not None and not drawn.pixels.any()
    found, covered = drawn.restored, drawn.computed
    assert covered.sum() == (layer[..., 3] > 0).sum() and drawn.objects == 1
    assert np.abs(found.astype(int) - truth)[covered].max() <= 1 + 0.5 / (1 - opacity)
    assert np.array_equal(found[~covered], marked[~covered])
    assert drawn.place == f"{left},{top} 60x40"


@pytest.mark.parametrize(
    ("keys", "left", "top"),
    [
        ({}, 0, 0),
        ({"anchor": "top-right", "offset": [5, 3]}, 55, 3),
        ({"anchor": "bottom-left", "offset": [5, 3]}, 5, 47),
        ({"anchor": "bottom-right"}, 60, 50),
        ({"anchor": "center"}, 30, 25),
        ({"anchor": "center", "offset": [-4, 6]}, 26, 31),
        ({"offset": [-20, 70]}, -20, 70),
    ],
    ids=range(7),
)
def test_anchor_and_offset_say_where_a_mark_is(keys, left, top):
    drawn = draw_mask(png(LOGO), photo_of(stamped(PHOTO, LOGO, left, top)), config(**keys), LIMIT)
    assert drawn.place == f"{left},{top} 60x40"
    assert np.abs(drawn.restored.astype(int) - PHOTO).max() <= 2


def test_mark_of_a_share_of_the_width_is_scaled():
    large = np.asarray(Image.fromarray(LOGO).resize((90, 60), Image.Resampling.BICUBIC))
    marked = stamped(PHOTO, large, 30, 30)
    drawn = draw_mask(png(LOGO), photo_of(marked), config(size=0.75, anchor="bottom-right"), LIMIT)
    assert drawn.place == "30,30 90x60"
    error = np.abs(drawn.restored.astype(int) - PHOTO)
    assert error.max() <= 8 and error.mean() < np.abs(marked.astype(int) - PHOTO).mean() / 20


def test_repeated_marks_are_all_computed_also_where_the_border_cuts_them():
    marked = PHOTO
    for top in range(-37, 90, 50):
        for left in range(-60, 120, 70):
            marked = stamped(marked, LOGO, left, top) if left > -60 else marked
    drawn = draw_mask(png(LOGO), photo_of(marked), config(offset=[10, 13], repeat=[70, 50]), LIMIT)
    assert drawn.objects == 6
    assert np.abs(drawn.restored.astype(int) - PHOTO).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_mark_over_a_photo_as_viewers_show_it_is_found_in_the_stored_pixels(orientation):
    shown = stamped(PHOTO, LOGO, 40, 20)
    upright = config(offset=[40, 20], upright=True)
    exif = Image.Exif()
    exif[0x0112] = orientation

    def stored(pixels: np.ndarray) -> np.ndarray:
        return np.stack([turn_back(band, orientation, upright) for band in np.moveaxis(pixels, 2, 0)], axis=2)

    photo = Photo(stored(shown), "RGB", "PNG", {"exif": b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")})
    drawn = draw_mask(png(LOGO), photo, upright, LIMIT)
    assert np.abs(drawn.restored.astype(int) - stored(PHOTO)).max() <= 2
    assert drawn.computed.shape == photo.pixels.shape[:2]


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "RGBX", "I;16", "RGB;16"])
def test_every_layout_of_pixels_is_computed_and_alpha_is_kept(mode):
    kind = np.uint16 if "16" in mode else np.uint8
    truth = PHOTO.astype(kind) * (257 if kind == np.uint16 else 1)
    marked = stamped(truth, LOGO, 30, 20)
    if mode[0] in "LI":
        truth, marked = ((each @ np.array([0.299, 0.587, 0.114])).round().astype(kind) for each in (truth, marked))
    if mode[-1] in "AX":
        bands = [truth, marked] if truth.ndim == 3 else [truth[..., None], marked[..., None]]
        truth, marked = (np.concatenate([each, np.full((90, 120, 1), 255, kind)], axis=2) for each in bands)
    drawn = draw_mask(png(LOGO), photo_of(marked, mode), config(offset=[30, 20]), LIMIT)
    assert drawn.restored.dtype == kind and drawn.restored.shape == marked.shape
    worst = np.abs(drawn.restored.astype(int) - truth).max()
    assert worst <= 3


def test_transparent_pixels_of_the_photo_are_left_to_the_model():
    marked = np.dstack([stamped(PHOTO, LOGO, 30, 20), np.full((90, 120), 255, np.uint8)])
    marked[:, :60, 3] = 100
    drawn = draw_mask(png(LOGO), photo_of(marked, "RGBA"), config(offset=[30, 20]), LIMIT)
    assert drawn.pixels[:, :60].any() and not drawn.pixels[:, 60:].any() and not drawn.computed[:, :60].any()
    assert np.array_equal(drawn.restored[:, :60], marked[:, :60])


def test_opaque_part_of_a_mark_is_filled_and_the_rest_computed():
    layer = LOGO.copy()
    layer[15:25, 5:15, 3] = 255
    marked = stamped(PHOTO, layer, 30, 20)
    drawn = draw_mask(png(layer), photo_of(marked), config(offset=[30, 20]), LIMIT)
    assert drawn.pixels.sum() == 100 and drawn.pixels[35:45, 35:45].all()
    assert not (drawn.pixels & drawn.computed).any()
    assert np.array_equal(drawn.changed, read_mask(png(layer), photo_of(marked), config(offset=[30, 20]), LIMIT))
    assert np.abs(drawn.restored.astype(int) - PHOTO)[drawn.computed].max() <= 2
    grown = draw_mask(png(layer), photo_of(marked), config(offset=[30, 20], dilate_px=3), LIMIT)
    assert grown.pixels.sum() == 16 * 16 and not (grown.pixels & grown.computed).any()


def test_place_where_something_else_covers_the_mark_is_filled():
    """A black label over a light mark: computed it would be below black."""
    marked = stamped(PHOTO, LOGO, 30, 20)
    marked[40:52, 34:50] = 0
    drawn = draw_mask(png(LOGO), photo_of(marked), config(offset=[30, 20]), LIMIT)
    covered = np.zeros((90, 120), bool)
    covered[20:60, 30:90] = LOGO[..., 3] > 100
    label = np.zeros((90, 120), bool)
    label[42:50, 36:48] = True
    assert drawn.pixels[label & covered].mean() > 0.9 and not drawn.pixels[:, 60:].any()


def test_limit_of_opacity_follows_the_noise_of_the_file():
    limits = []
    for quality in (75, 85, 95):
        stream = io.BytesIO()
        Image.fromarray(PHOTO).save(stream, "JPEG", quality=quality)
        limits.append(opacity_limit(noise_of(decode(stream.getvalue(), LIMIT))))
    assert limits == pytest.approx([0.72, 0.77, 0.86], abs=0.01)
    assert opacity_limit(noise_of(photo_of(PHOTO))) == pytest.approx(0.96, abs=0.01)


def test_configured_limit_of_opacity_replaces_that_of_the_file():
    marked = photo_of(stamped(PHOTO, LOGO, 30, 20))
    drawn = draw_mask(png(LOGO), marked, config(offset=[30, 20], max_opacity=0.4), LIMIT)
    assert drawn.pixels.sum() == (LOGO[..., 3] > 0.4 * 255).sum()


@pytest.mark.parametrize("quality", [75, 95])
def test_mark_in_a_jpeg_file_is_computed_better_than_by_the_formula_alone(quality):
    truth = np.asarray(Image.open(ROOT / "tests" / "photos" / "images" / "chelsea.png").convert("RGB"))
    layer = np.asarray(Image.fromarray(logo(0.6)).resize((180, 120)))
    stream = io.BytesIO()
    Image.fromarray(stamped(truth, layer, 100, 80)).save(stream, "JPEG", quality=quality)
    photo = decode(stream.getvalue(), LIMIT)
    drawn = draw_mask(png(layer), photo, config(offset=[100, 80]), LIMIT)
    alpha = np.zeros((*truth.shape[:2], 1))
    colours = np.zeros(truth.shape)
    alpha[80:200, 100:280], colours[80:200, 100:280] = layer[..., 3:] / 255, layer[..., :3]
    plain = np.clip((photo.pixels - alpha * colours) / (1 - alpha), 0, 255)
    hole = (alpha[..., 0] > 0) & drawn.computed
    ours, theirs = (((each.astype(float) - truth)[hole] ** 2).mean() for each in (drawn.restored, plain))
    assert ours < 0.93 * theirs


@given(st.integers(-4, 4), st.integers(-4, 4))
@settings(max_examples=12, deadline=None)
def test_mark_that_is_some_pixels_off_is_found_exactly(right, down):
    marked = photo_of(stamped(PHOTO, LOGO, 30 + right, 20 + down))
    drawn = draw_mask(png(LOGO), marked, config(offset=[30, 20], find={"shift_px": 4}), LIMIT)
    assert drawn.place == f"{30 + right},{20 + down} 60x40" and drawn.score > 0.9


def test_mark_that_is_some_per_cent_larger_is_found():
    large = np.asarray(Image.fromarray(LOGO).resize((63, 42), Image.Resampling.BICUBIC))
    marked = photo_of(stamped(PHOTO, large, 28, 22))
    drawn = draw_mask(png(LOGO), marked, config(offset=[30, 20], find={"shift_px": 4, "scale": 0.06}), LIMIT)
    assert drawn.place == "28,22 63x42"


@pytest.mark.parametrize("find", [{}, {"shift_px": 6}, {"shift_px": 3, "scale": 0.05}], ids=["", "shift", "scale"])
@pytest.mark.parametrize("seed", range(4))
def test_photo_without_the_mark_fails_or_passes_through_as_configured(find, seed):
    keys = {"offset": [30, 20], "find": find}
    photo = photo_of(smooth(seed=seed))
    with pytest.raises(SampleError, match=r"the mark agrees with the photo by .*mask\.missing=empty") as caught:
        draw_mask(png(LOGO), photo, config(**keys), LIMIT)
    assert (caught.value.stage, caught.value.kind) == ("mask", "MarkNotFound")
    drawn = draw_mask(png(LOGO), photo, config(**keys, missing="empty"), LIMIT)
    assert not drawn.changed.any() and drawn.objects == 0 and drawn.restored is None


def test_mark_of_another_opacity_is_not_taken_for_the_given_one():
    photo = photo_of(stamped(PHOTO, logo(0.15), 30, 20))
    with pytest.raises(SampleError, match="the mark agrees with the photo by"):
        draw_mask(png(LOGO), photo, config(offset=[30, 20]), LIMIT)


def test_invisible_mark_is_computed_without_a_score():
    white, layer = np.full((90, 120, 3), 255, np.uint8), LOGO.copy()
    layer[..., :3] = 255
    drawn = draw_mask(png(layer), photo_of(white), config(offset=[30, 20]), LIMIT)
    assert drawn.score is None and np.array_equal(drawn.restored, white)


@pytest.mark.parametrize(
    ("photo", "data", "keys", "kind"),
    [
        (photo_of(PHOTO[:30]), png(LOGO), {}, "MarkTooLarge"),
        (photo_of(PHOTO), png(LOGO), {"offset": [500, 0]}, "MarkTooLarge"),
        (photo_of(PHOTO), png(LOGO), {"repeat": [50, 50]}, "MarkTooLarge"),
        (photo_of(PHOTO), png(LOGO[..., :3]), {}, "NoAlpha"),
        (photo_of(PHOTO), png(np.zeros_like(LOGO)), {}, "EmptyMark"),
        (photo_of(PHOTO), b"no picture", {}, "UnreadableImage"),
        (Photo(np.zeros((90, 120, 4), np.uint8), "CMYK", "JPEG"), png(LOGO), {}, "UnsupportedMode"),
    ],
    ids=range(7),
)
def test_mark_that_cannot_be_used_fails_the_sample_with_the_reason(photo, data, keys, kind):
    with pytest.raises(SampleError) as caught:
        draw_mask(data, photo, config(**keys), LIMIT)
    assert (caught.value.stage, caught.value.kind) == ("mask", kind)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"offset": [1]}, r"mask\.offset must be \[x, y\]"),
        ({"offset": [0.5, 1]}, r"mask\.offset must be"),
        ({"size": 1.5}, r"mask\.size must be a share"),
        ({"repeat": [0, 5]}, r"mask\.repeat must be true, null"),
        ({"repeat": 7}, r"mask\.repeat must be true, null"),
        ({"find": {"shift": 3}}, r"mask\.find has no key 'shift', only shift_px, scale"),
        ({"find": {"shift_px": 900}}, r"mask\.find\.shift_px must be whole pixels in 0 … 64"),
        ({"find": {"scale": 2}}, r"mask\.find\.scale must be in 0 … 0\.25"),
        ({"max_opacity": 2}, r"mask\.max_opacity must be auto or in 0 … 1"),
        ({"anchor": "middle"}, r"mask\.anchor must be one of"),
        ({"invert": True}, r"mask\.invert has no meaning for mask\.kind=mark"),
        ({"resize": True}, r"mask\.resize has no meaning for mask\.kind=mark; set mask\.size"),
    ],
    ids=range(12),
)
def test_faulty_setting_of_a_mark_is_refused_with_its_key(keys, message):
    with pytest.raises(ConfigError, match=message):
        JobConfig(mask=config(**keys))


def test_settings_of_marks_decide_results_but_leave_older_fingerprints_as_they_are():
    base = JobConfig(mask=config())
    for key in (
        {"offset": [1, 0]},
        {"size": 0.5},
        {"repeat": True},
        {"find": {"shift_px": 1}},
        {"max_opacity": 0.5},
        {"missing": "empty"},
    ):
        assert replace(base, mask=replace(base.mask, **key)).fingerprint != base.fingerprint


def test_mark_is_united_with_masks_that_are_found_in_the_photo_without_it():
    marked = np.dstack([stamped(PHOTO, LOGO, 30, 20), np.full((90, 120), 255, np.uint8)])
    marked[40:80, 80:110, 3] = 0  # over a part of the mark
    drawn = draw_mask(
        png(LOGO), photo_of(marked, "RGBA"), config(offset=[30, 20], also=[MaskConfig(kind="alpha")]), LIMIT
    )
    assert drawn.pixels[40:80, 80:110].all() and drawn.pixels.sum() == 40 * 30
    assert drawn.objects == 2 and drawn.computed.any() and not (drawn.computed & drawn.pixels).any()
    assert np.abs(drawn.restored[..., :3].astype(int) - PHOTO)[drawn.computed].max() <= 2


def test_large_marks_are_computed_in_blocks_with_the_same_result(monkeypatch):
    marked = stamped(PHOTO, logo(0.6, 70, 100), 10, 10)
    marked[40:52, 34:50] = 0
    stream = io.BytesIO()
    Image.fromarray(marked).save(stream, "JPEG", quality=90)
    keys = {"offset": [9, 11], "find": {"shift_px": 2}}
    drawn = []
    for block_px in (1024, 17):
        monkeypatch.setattr("pipeline.masks.mark.places.BLOCK_PX", block_px)
        drawn.append(draw_mask(png(logo(0.6, 70, 100)), decode(stream.getvalue(), LIMIT), config(**keys), LIMIT))
    whole, parts = drawn
    assert whole.place == parts.place == "10,10 100x70" and whole.pixels.any()
    assert np.array_equal(whole.restored, parts.restored) and np.array_equal(whole.pixels, parts.pixels)


@pytest.mark.parametrize("image_format", ["source", "png"])
def test_computed_pixels_of_a_jpeg_file_are_in_the_result_that_is_stored(image_format):
    """Without a window, and beside one."""
    truth = np.kron(smooth(30, 40), np.ones((4, 4, 1), np.uint8))
    for is_opaque in (False, True):
        layer = logo(0.5)
        layer[15:25, 5:15, 3] = 255 if is_opaque else 127
        stream = io.BytesIO()
        Image.fromarray(stamped(truth, layer, 50, 40)).save(stream, "JPEG", quality=95, subsampling=0)
        settings = JobConfig(mask=config(offset=[50, 40]), sink=SinkConfig(image_format=image_format))
        record = Record("a.jpg", FAILED)
        job = prepare(record, Inputs(stream.getvalue(), png(layer)), settings, 64)
        assert bool(job.windows) == is_opaque
        result = decode(finish(job, settings), LIMIT).pixels.astype(float)
        assert (record.status, record.outside_max_diff) == (OK, 0)
        covered = job.computed & ~ndimage.binary_dilation(job.mask, iterations=8)
        marked = decode(stream.getvalue(), LIMIT).pixels
        assert np.array_equal(job.changed, job.mask | job.computed)
        assert ((result - truth)[covered] ** 2).mean() < ((marked - truth.astype(float))[covered] ** 2).mean() / 50
