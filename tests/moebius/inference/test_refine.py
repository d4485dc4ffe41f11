"""The second pass over large holes, by the whole model."""

import numpy as np
import pytest

from moebius import Inpainter, InpaintSettings
from tests.conftest import textured

SETTINGS = {"steps": 4, "refine": 0.5, "guidance": 1.0}


def holes(*boxes, shape=(150, 170)):
    mask = np.zeros(shape, bool)
    for top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


LARGE, SMALL = holes((20, 15, 125, 130)), holes((60, 60, 90, 100))


def inpainter(weights, **settings):
    return Inpainter.from_pretrained(str(weights), InpaintSettings(**{**SETTINGS, **settings}))


@pytest.fixture(scope="module", params=["tiny", "nano"])
def weights(request, tiny_weights):
    return tiny_weights if request.param == "tiny" else "nano"


@pytest.mark.parametrize("start", ["photo", "colours"])
def test_second_pass_fills_the_hole_again_and_changes_nothing_outside(tiny_weights, start):
    photo = textured(*LARGE.shape)
    first, second = (inpainter(tiny_weights, refine=r, start=start)([photo], [LARGE], [3])[0] for r in (0.0, 0.5))
    assert np.array_equal(second[~LARGE], photo[~LARGE])
    assert (first != second).any(axis=2)[LARGE].mean() > 0.5


def test_hole_that_fits_a_window_is_filled_as_without_a_second_pass_at_no_cost(weights):
    photo = textured(*SMALL.shape)
    plain, refining = inpainter(weights, refine=0.0), inpainter(weights)
    assert plain.cost(SMALL) == refining.cost(SMALL)
    assert np.array_equal(plain([photo], [SMALL], [3])[0], refining([photo], [SMALL], [3])[0])


def test_second_pass_gives_the_same_whatever_its_neighbours(tiny_weights):
    photo, other = textured(*LARGE.shape), textured(90, 200, seed=1)
    mask = holes((5, 10, 80, 150), (82, 160, 88, 170), shape=(90, 200))
    (alone,) = inpainter(tiny_weights, batch_size=4)([photo], [LARGE], [3])
    beside = inpainter(tiny_weights, batch_size=4)([other, photo, other], [mask, LARGE, mask], [1, 3, 2])
    assert np.array_equal(beside[1], alone)


def test_second_pass_gives_the_same_to_rounding_whatever_the_size_of_the_batch():
    mask = holes((5, 3, 150, 120), shape=(160, 140))
    photo = textured(*mask.shape)
    first, second = (inpainter("nano", batch_size=size)([photo], [mask], [3])[0] for size in (1, 4))
    assert np.abs(first.astype(int) - second).max() <= 1


def test_cost_counts_the_windows_and_evaluations_that_are_computed(tiny_weights):
    model, progress, calls = inpainter(tiny_weights, batch_size=1, guidance=2.0, fast=False), [], []
    real = model.model.predict.model
    model.model.predict.model = lambda latents, *given: calls.append(len(latents)) or real(latents, *given)
    model([textured(*LARGE.shape)], [LARGE], [3], lambda done, total: progress.append((done, total)))
    cost = model.cost(LARGE)
    assert progress[-1] == (cost.windows, cost.windows) and cost.windows > 5
    assert sum(calls) == cost.evaluations
    assert cost.evaluations == 2 * (3 + 2 * (cost.windows - 1))


def test_cost_without_guidance_is_half_and_of_no_hole_nothing(tiny_weights):
    model = inpainter(tiny_weights, guidance=1.0, refine=0.0)
    assert model.cost(SMALL).evaluations == 3 and model.cost(SMALL).windows == 1
    assert inpainter(tiny_weights, guidance_interval=(0, 100), guidance=2.0).cost(SMALL).evaluations == 4
    assert model.cost(~SMALL & SMALL).windows == model.cost(~SMALL & SMALL).evaluations == 0


@pytest.mark.parametrize("refine", [-0.1, 1, 0.2, float("nan")])
def test_strength_of_the_second_pass_out_of_range_is_refused(refine):
    with pytest.raises(ValueError, match=r"^refine must be 0, or below 1 with steps·refine at least 1"):
        InpaintSettings(steps=4, refine=refine)


def test_guidance_auto_is_what_the_weights_recommend(tiny_weights):
    assert inpainter("nano", guidance="auto").settings.guidance == 1.0
    assert inpainter(tiny_weights, guidance="auto").settings.guidance == 2.0
    with pytest.raises(ValueError, match="guidance=auto depends on the weights"):
        InpaintSettings(guidance="auto").evaluations(0.9)
    with pytest.raises(ValueError, match="guidance must be auto or a number from 0, got much"):
        InpaintSettings(guidance="much")
