"""No mask with something in it passes as an empty one, and soft edges are no reason to refuse one."""

import io
import re

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from pipeline.codecs.decode import decode
from pipeline.codecs.photo import Photo
from pipeline.codecs.png.chunks import encode_png
from pipeline.config.job import MaskConfig
from pipeline.errors import SampleError
from pipeline.masks.decode import read_mask
from tests.conftest import saved
from tests.pipeline.masks.test_masks import png, read

SHAPE = (60, 80)
HOLE = np.zeros(SHAPE, bool)
HOLE[20:40, 30:60] = True


def as_advised(data: bytes, **options) -> np.ndarray:
    """The mask after doing what its refusal says."""
    with pytest.raises(SampleError) as caught:
        read(data, SHAPE, **options)
    assert caught.value.stage == "mask" and caught.value.kind in ("MaskBelowThreshold", "MaskAboveThreshold")
    key, value = re.findall(r"mask\.(threshold|channel)=(\w+[.\w]*) (?:fills|keeps)", caught.value.message)[0]
    return read(data, SHAPE, **options, **{key: value if key == "channel" else float(value)})


def of_palette(indices: np.ndarray, colours: dict[int, tuple[int, int, int]], **options) -> bytes:
    image = Image.fromarray(indices.astype(np.uint8), "P")
    image.putpalette([channel for index in range(256) for channel in colours.get(index, (0, 0, 0))])
    return saved(image, **options)


def strokes(mode: str, colour: tuple[int, ...]) -> Image.Image:
    """The hole in one colour on transparent ground."""
    image = Image.new(mode, SHAPE[::-1], (0,) * len(colour))
    image.paste(colour, (30, 20, 60, 40))
    return image


@pytest.mark.parametrize(
    "data",
    [
        png(HOLE.astype(np.uint8)),
        png(HOLE.astype(np.uint16) * 3),
        encode_png(np.repeat(HOLE[..., None].astype(np.uint16) * 200, 3, axis=2), []),
        of_palette(HOLE * 8, {8: (64, 0, 0)}),
        saved(Image.fromarray(HOLE.astype(np.uint8) * 7), "BMP"),
        saved(Image.fromarray(HOLE.astype(np.uint8) * 5), "GIF"),
        saved(Image.fromarray(HOLE.astype(np.uint16) * 9), "TIFF"),
        saved(Image.fromarray(HOLE.astype(np.uint8) * 9), "WEBP", lossless=True),
        saved(strokes("RGBA", (255, 255, 255, 100))),
        saved(strokes("RGBA", (0, 0, 0, 255))),
        saved(strokes("RGBA", (30, 40, 50, 255))),
        saved(strokes("LA", (0, 200))),
    ],
    ids=[
        "0 and 1", "16 bits", "16 bits of colour", "class", "bmp", "gif", "tiff", "webp", "faint", "black", "dark", "LA"
    ],
)  # fmt: skip
def test_mask_below_the_threshold_fails_with_a_way_out_that_works(data):
    assert np.array_equal(as_advised(data), HOLE)
    if b"IHDR" not in data or Image.open(io.BytesIO(data)).mode not in ("RGBA", "LA"):
        assert np.array_equal(as_advised(data, invert=True), ~HOLE)


def test_inverted_mask_above_the_threshold_fails_with_a_way_out_that_works():
    for values in (np.where(HOLE, 200, 255).astype(np.uint8), np.where(HOLE, 65534, 65535).astype(np.uint16)):
        assert np.array_equal(as_advised(png(values), invert=True), HOLE)


def test_message_has_the_largest_value_and_the_scale():
    with pytest.raises(SampleError, match=r"reaches mask\.threshold=0\.5: its largest value is 3 of 65535; mask"):
        read(png(HOLE.astype(np.uint16) * 3), SHAPE)


@pytest.mark.parametrize(
    "image",
    [
        Image.new("L", (80, 60)),
        Image.new("1", (80, 60)),
        Image.new("P", (80, 60)),
        Image.new("RGB", (80, 60)),
        Image.new("RGBA", (80, 60)),
        Image.new("RGBA", (80, 60), (255, 255, 255, 0)),
        Image.new("RGBA", (80, 60), (0, 0, 0, 255)),
        Image.new("LA", (80, 60)),
        Image.fromarray(np.zeros(SHAPE, np.uint16)),
    ],
    ids=lambda image: image.mode,
)
def test_empty_mask_is_empty(image):
    assert not read(saved(image), SHAPE).any()


def test_white_mask_leaves_nothing_when_inverted():
    assert not read(png(np.full(SHAPE, 255, np.uint8)), SHAPE, invert=True).any()


def test_alpha_channel_that_is_nowhere_transparent_enough_fails():
    pixels = np.full((*SHAPE, 4), 255, np.uint8)
    assert not read_mask(b"", Photo(pixels, "RGBA", "PNG"), MaskConfig(kind="alpha"), 10**6).any()
    pixels[HOLE, 3] = 180
    with pytest.raises(SampleError, match=r"the transparency of the image .* largest value is 75 of 255") as caught:
        read_mask(b"", Photo(pixels, "RGBA", "PNG"), MaskConfig(kind="alpha"), 10**6)
    assert caught.value.kind == "MaskBelowThreshold"


def soft_edges() -> np.ndarray:
    return np.asarray(Image.fromarray(HOLE.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(4)))


@pytest.mark.parametrize("kind", ["RGBA", "LA", "palette", "16 bits"])
def test_opacity_multiplies_the_value_of_a_mask(kind):
    soft = soft_edges()
    if kind == "RGBA":
        data = png(np.dstack([np.full_like(soft, 255)] * 3 + [soft]))
    elif kind == "LA":
        data = png(np.dstack([np.full_like(soft, 255), soft]))
    elif kind == "palette":
        data = of_palette(soft, dict.fromkeys(range(256), (255, 255, 255)), transparency=bytes(range(256)))
    else:
        data = encode_png(np.dstack([np.full(SHAPE, 65535, np.uint16)] * 3 + [soft.astype(np.uint16) * 257]), [])
    assert np.array_equal(read(data, SHAPE), soft >= 128)
    assert np.array_equal(read(data, SHAPE, channel="alpha", threshold=0.25), soft >= 64)


def test_grey_times_opacity_is_rounded():
    pixels = np.dstack([np.full((4, 4), 180, np.uint8), np.array([[181, 180, 0, 255]] * 4, np.uint8)])
    assert np.array_equal(read(png(pixels))[0], [True, False, False, True])  # 127.8, 127.1


def test_alpha_of_a_mask_without_any_fails():
    with pytest.raises(SampleError, match=r"mask\.channel=alpha, but the mask has no transparency") as caught:
        read(png(HOLE.astype(np.uint8) * 255), SHAPE, channel="alpha")
    assert (caught.value.stage, caught.value.kind) == ("mask", "NoAlpha")


def test_hole_cut_out_of_a_copy_of_the_photo_is_its_inverted_alpha():
    pixels = np.random.default_rng(0).integers(0, 256, (*SHAPE, 4), np.uint8)
    pixels[..., 3] = ~HOLE * np.uint8(255)
    assert np.array_equal(read(png(pixels), SHAPE, channel="alpha", invert=True), HOLE)


LABELS = HOLE * 8
LABELS[18:20, 30:60] = LABELS[40:42, 30:60] = 255  # a border of what is not known


@pytest.mark.parametrize(
    "data",
    [
        of_palette(LABELS, {8: (64, 0, 0), 255: (224, 224, 192)}),
        saved(Image.open(io.BytesIO(of_palette(LABELS, {8: (64, 0, 0), 255: (224, 224, 192)}))).convert("RGB")),
        png(LABELS.astype(np.uint8)),
        png(np.where(LABELS == 255, 65535, LABELS).astype(np.uint16)),
    ],
    ids=["palette", "colour", "grey", "16 bits"],
)
@pytest.mark.parametrize("invert", [False, True])
def test_labels_of_which_some_are_below_the_threshold_fail(data, invert):
    with pytest.raises(SampleError, match=r"such as of value \d+ of .* mask\.threshold=0 selects") as caught:
        read(data, SHAPE, invert=invert)
    assert (caught.value.stage, caught.value.kind) == ("mask", "MaskOfLabels")
    assert np.array_equal(read(data, SHAPE, threshold=0.0), LABELS > 0)
    assert np.array_equal(read(data, SHAPE, threshold=0.6), LABELS == 255)  # by somebody who has thought about it


def beside(value: int, kind: type = np.uint8) -> bytes:
    """The hole, and an area of a lower value that does not touch it."""
    labels = HOLE.astype(kind) * np.iinfo(kind).max
    labels[45:55, 5:20] = value
    return png(labels)


@pytest.mark.parametrize(
    "data",
    [
        beside(100),
        beside(127),
        beside(30000, np.uint16),
        png(
            np.repeat(np.arange(0, 240, 20, np.uint8), 6)[None].repeat(60, 0) * (np.arange(72) % 6 > 1).astype(np.uint8)
        ),
        of_palette(HOLE * 1 + np.roll(HOLE, 35, 1) * 2, {1: (128, 0, 0), 2: (70, 70, 70)}),
    ],
    ids=["second grey", "just below", "16 bits", "numbers of objects", "grey class beside a red one"],
)
def test_whole_area_that_is_below_the_threshold_is_no_soft_edge(data):
    shape = Image.open(io.BytesIO(data)).size[::-1]
    with pytest.raises(SampleError) as caught:
        read(data, shape)
    assert caught.value.kind == "MaskOfLabels"
    assert read(data, shape, threshold=0.0).sum() > HOLE.sum()


def test_faint_rest_of_a_soft_mask_is_no_label():
    coarse = np.random.default_rng(0).integers(0, 25, (8, 20), np.uint8)
    rest = np.asarray(Image.fromarray(coarse).resize((320, 120), Image.Resampling.BICUBIC))
    assert read(png(np.maximum(rest, np.asarray(brush()))), (120, 320)).any()
    hard = np.where(np.asarray(brush()) > 100, 255, np.asarray(brush()) // 8).astype(np.uint8)  # with a glow
    assert read(png(hard), (120, 320)).any()


@pytest.mark.parametrize("quality", [20, 50, 80])
def test_noise_of_a_lossy_mask_is_no_label(quality):
    discs = Image.new("L", (256, 192))
    for left, top in ((187, 119), (130, 51), (73, 24)):
        ImageDraw.Draw(discs).ellipse((left, top, left + 40, top + 30), fill=255)
    for kind in ("WEBP", "JPEG"):
        mask = read(saved(discs.convert("RGB"), kind, quality=quality), discs.size[::-1])
        assert 0.9 < mask.sum() / np.count_nonzero(discs) < 1.1


def written(size: int = 30) -> Image.Image:
    image = Image.new("L", (320, 120))
    ImageDraw.Draw(image).text((10, 30), "SAMPLE text", font=ImageFont.load_default(size), fill=255)
    return image


def lines() -> Image.Image:
    image = Image.new("L", (1280, 480))
    ImageDraw.Draw(image).line([(0, 10), (1279, 470)], fill=255, width=3)
    return image.resize((320, 120), Image.Resampling.BOX)


def brush() -> Image.Image:
    """A soft dab whose outskirts are larger than its core."""
    rows, columns = np.mgrid[:120, :320]
    return Image.fromarray((255 * np.exp(-((rows - 60) ** 2 + (columns - 160) ** 2) / 800)).astype(np.uint8))


@pytest.mark.parametrize("draw", [written, lines, brush], ids=lambda draw: draw.__name__)
@pytest.mark.parametrize("form", ["grey", "red", "palette", "gif", "jpeg", "jpeg as png", "16 levels", "lifted black"])
def test_soft_mask_of_any_form_is_taken(draw, form):
    grey = draw()
    forms = {
        "grey": lambda: saved(grey),
        "red": lambda: saved(Image.merge("RGB", (grey, Image.new("L", grey.size), Image.new("L", grey.size)))),
        "palette": lambda: saved(grey.quantize(16)),
        "gif": lambda: saved(grey, "GIF"),
        "jpeg": lambda: saved(grey.convert("RGB"), "JPEG", quality=60),
        "jpeg as png": lambda: saved(Image.open(io.BytesIO(saved(grey, "JPEG", quality=60)))),
        "16 levels": lambda: saved(grey.point(lambda value: value // 16 * 17)),
        "lifted black": lambda: saved(grey.point(lambda value: 16 + value * 219 // 255)),
    }
    mask = read(forms[form](), (120, 320))
    assert 0.5 < mask.sum() / (np.asarray(grey) >= 128).sum() < 2


def test_masks_in_the_repository_are_taken():
    from pathlib import Path

    for path in Path("tests/photos/masks").iterdir():
        photo = decode(next(Path("tests/photos/images").glob(f"{path.stem}.*")).read_bytes(), 10**8)
        assert read_mask(path.read_bytes(), photo, MaskConfig(), 10**8).any()
