"""Several fills of each window, of which the best is kept, by the whole model."""

import numpy as np
import pytest

from moebius import Inpainter, InpaintSettings
from moebius.windows.seam import border_colours
from tests.conftest import textured

MASK = np.zeros((90, 120), bool)
MASK[30:60, 40:80] = True
PHOTO = textured(*MASK.shape)


def inpainter(weights, **settings):
    return Inpainter.from_pretrained(str(weights), InpaintSettings(steps=4, guidance=1.0, **settings))


def seam(filled):
    return border_colours(filled, MASK).seam_score


@pytest.mark.parametrize("weights", ["tiny", "nano"])
def test_best_of_several_has_no_larger_seam_than_the_first_and_costs_as_many_times_more(weights, tiny_weights):
    name = tiny_weights if weights == "tiny" else "nano"
    one, four = inpainter(name), inpainter(name, candidates=4)
    seams = []
    for seed in range(4):
        first, best = (model([PHOTO], [MASK], [seed])[0] for model in (one, four))
        assert np.array_equal(best[~MASK], PHOTO[~MASK])
        seams.append((seam(best), seam(first)))
    assert all(best <= first for best, first in seams) and any(best < first for best, first in seams)
    assert four.cost(MASK).windows == 4 * one.cost(MASK).windows
    assert four.cost(MASK).evaluations == 4 * one.cost(MASK).evaluations


def test_no_candidate_is_refused():
    with pytest.raises(ValueError, match="candidates must be at least 1, got 0"):
        InpaintSettings(candidates=0)
