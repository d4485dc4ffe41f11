"""No setting lets a result depend on what lies under its mask, unless sampling starts from the photo."""

import numpy as np
import pytest

from moebius import Inpainter, InpaintSettings
from moebius.weights.files import find_weights
from tests.conftest import textured


def holes(shape, *places):
    mask = np.zeros(shape, bool)
    for rows, columns in places:
        mask[rows, columns] = True
    return mask


MASKS = {
    "small holes": holes((150, 190), (slice(60, 80), slice(70, 95)), (slice(5, 9), slice(160, 165))),
    "photo smaller than the square": holes((50, 90), (slice(5, 20), slice(3, 22)), (slice(40, 50), slice(70, 90))),
    "thin and larger than the square": holes(
        (150, 200), (slice(20, 140), slice(10, 120)), (slice(5, 8), slice(5, 195))
    ),
}
SETTINGS = [
    {},
    {"context": 1.0, "max_upscale": 1.7},
    {"context": 2.5, "max_upscale": 3.0, "sampler": "dpm++"},
    {"max_upscale": 1.5, "guidance": 1.0, "latent_mask": "nearest", "noise_offset": 0.0357},
    {"max_upscale": 1.9, "strength": 1.0, "steps": 1, "guidance_interval": (0, 500)},
    {"max_upscale": 1.2, "strength": 0.5, "steps": 2, "fast": False},
    {"refine": 0.5},
]


def largest_difference(inpainter, mask):
    """Between the results of two photos that differ under the mask alone."""
    photo = textured(*mask.shape)
    other = np.where(mask[..., None], 255 - photo, photo)
    other[mask, 0] = 255
    first, second = inpainter([photo, other], [mask, mask], [1, 1])
    return int(np.abs(first.astype(int) - second).max())


@pytest.fixture(scope="module")
def nano():
    return find_weights("nano")


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_nano_never_shows_what_lies_under_the_mask(nano, settings):
    inpainter = Inpainter(*nano.load(), InpaintSettings(**{"steps": 2, "batch_size": 4, **settings}), "cpu")
    assert {name: largest_difference(inpainter, mask) for name, mask in MASKS.items()} == dict.fromkeys(MASKS, 0)


@pytest.mark.parametrize("settings", [{}, {"max_upscale": 1.7}, {"context": 3.0, "max_upscale": 4.0}], ids=str)
def test_sampling_from_noise_alone_never_shows_what_lies_under_the_mask(tiny_weights, settings):
    chosen = InpaintSettings(steps=2, strength=1.0, **settings)
    inpainter = Inpainter.from_pretrained(str(tiny_weights), chosen)
    assert {name: largest_difference(inpainter, mask) for name, mask in MASKS.items()} == dict.fromkeys(MASKS, 0)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_sampling_from_colours_around_the_hole_never_shows_what_lies_under_the_mask(tiny_weights, settings):
    chosen = InpaintSettings(**{"steps": 2, "batch_size": 4, "start": "colours", **settings})
    inpainter = Inpainter.from_pretrained(str(tiny_weights), chosen)
    assert {name: largest_difference(inpainter, mask) for name, mask in MASKS.items()} == dict.fromkeys(MASKS, 0)


def test_nano_that_starts_from_the_photo_on_request_shows_it(nano):
    inpainter = Inpainter(*nano.load(), InpaintSettings(steps=2, strength=0.5, start="photo"), "cpu")
    assert largest_difference(inpainter, MASKS["small holes"]) > 0


def test_sampling_that_starts_from_the_photo_shows_it_as_published(tiny_weights):
    inpainter = Inpainter.from_pretrained(str(tiny_weights), InpaintSettings(steps=2, strength=0.5, max_upscale=1.7))
    assert largest_difference(inpainter, MASKS["small holes"]) > 0
