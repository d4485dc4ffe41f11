import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from pipeline.codecs.photo import Photo
from pipeline.config.job import JobConfig
from pipeline.config.mask import MaskConfig
from pipeline.detection.letters import letters_in, two_classes
from pipeline.masks.decode import draw_mask
from tests.conftest import textured

SIZE, CORNERS = (300, 50), [(8, 8), (292, 8), (292, 42), (8, 42)]


def line(colour, ground: np.ndarray, **style) -> tuple[np.ndarray, np.ndarray]:
    """A line of text over a ground, (50, 300, 3), and its pixels."""
    layer = Image.new("RGBA", SIZE)
    font = ImageFont.load_default(30)
    ImageDraw.Draw(layer).text((12, 6), "Sample photo 2024", font=font, fill=colour, **style)
    photo = Image.alpha_composite(Image.fromarray(ground).convert("RGBA"), layer).convert("RGB")
    return np.asarray(photo), np.asarray(layer)[..., 3] > 30


def flat(colour=(90, 120, 160)) -> np.ndarray:
    return np.full((50, 300, 3), colour, np.uint8)


@pytest.mark.parametrize(
    ("colour", "style"),
    [
        ((255, 255, 255, 255), {}),
        ((10, 10, 10, 255), {}),
        ((250, 250, 250, 90), {}),
        ((220, 60, 30, 200), {}),
        ((255, 255, 255, 255), {"stroke_width": 2, "stroke_fill": (0, 0, 0, 255)}),
    ],
    ids=["white", "black", "faint", "red", "outlined"],
)
@pytest.mark.parametrize("texture", [0, 8], ids=["flat", "textured"])
def test_letters_of_any_colour_are_covered_and_the_ground_between_is_not(colour, style, texture):
    ground = (flat() + textured(50, 300) * texture // 255).astype(np.uint8)
    rgb, written = line(colour, ground, **style)
    found = letters_in(rgb, CORNERS, 34)
    assert found is not None
    inside = written[8:43, 8:293]
    assert (found[8:43, 8:293] & inside).sum() / inside.sum() > 0.99
    assert found.mean() < (0.62 if style else 0.5)


@pytest.mark.parametrize(
    "rgb",
    [flat(), textured(50, 300), np.where(np.arange(300)[None, :, None] < 80, np.uint8(20), flat())],
    ids=["flat", "texture", "step"],
)
def test_line_without_letters_that_can_be_told_is_refused(rgb):
    assert letters_in(rgb, CORNERS, 34) is None


def test_letters_in_one_half_of_a_line_are_refused():
    rgb, _ = line((255, 255, 255, 255), flat())
    rgb = rgb.copy()
    rgb[:, 150:] = flat()[:, 150:]
    assert letters_in(rgb, CORNERS, 34) is None


def test_two_classes_are_split_between_them():
    threshold, separation = two_classes(np.array([1.0] * 50 + [9.0] * 10))
    assert 1 < threshold < 9 and separation > 0.99
    assert two_classes(np.array([5.0, 5.0]))[1] == 0


def test_masks_of_letters_are_smaller_and_hold_the_text():
    pytest.importorskip("rapidocr")
    rgb = np.full((200, 320, 3), (90, 120, 160), np.uint8)
    words = Image.new("L", (320, 200))
    ImageDraw.Draw(words).text((40, 80), "SAMPLE TEXT", font=ImageFont.load_default(30), fill=255)
    rgb[np.asarray(words) > 127] = 255
    photo = Photo(rgb, "RGB", "PNG")
    whole, letters = (draw_mask(b"", photo, MaskConfig(kind="text", letters=each), 10**6) for each in (False, True))
    assert letters.objects == whole.objects == 1 and letters.score == whole.score
    assert letters.pixels[np.asarray(words) > 127].mean() > 0.99
    assert letters.pixels.sum() < 0.75 * whole.pixels.sum()


def test_letters_count_as_other_settings_and_the_default_as_before():
    usual = JobConfig(mask=MaskConfig(kind="text"))
    assert JobConfig(mask=MaskConfig(kind="text", letters=True)).fingerprint != usual.fingerprint
    assert JobConfig(mask=MaskConfig(kind="text", letters=False)).fingerprint == usual.fingerprint
