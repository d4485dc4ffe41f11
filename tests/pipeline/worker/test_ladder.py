import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moebius.windows import plan_windows
from pipeline.codecs.photo import Photo
from pipeline.config.verify import VerifyConfig
from pipeline.errors import SampleError
from pipeline.masks.drawn import DrawnMask
from pipeline.records import FAILED, Record
from pipeline.worker.ladder import Ladder
from pipeline.worker.sample_job import SampleJob
from tests.conftest import textured

SIDE = 64
HOLE = np.s_[24:40, 20:44]


class Scripted:
    """Finds, in the nth result that it is shown, so many rows of the hole."""

    def __init__(self, *rows: int):
        self.rows, self.seen = list(rows), []

    def find(self, rgb):
        self.seen.append(rgb)
        pixels = np.zeros(rgb.shape[:2], bool)
        pixels[HOLE][: self.rows[len(self.seen) - 1]] = True
        return DrawnMask(pixels, int(pixels.any()))


class Hashed:
    """Finds what the pixels say, like a detector that is a function of them and of nothing else."""

    def find(self, rgb):
        digest = hashlib.sha256(rgb.tobytes()).digest()
        pixels = np.zeros(rgb.shape[:2], bool)
        pixels[HOLE][: digest[0] % 5] = True
        return DrawnMask(pixels, 1)


def ladder_of(detector, **options) -> Ladder:
    verify = VerifyConfig(model="text", **options)
    return Ladder(verify, detector, lambda mask: plan_windows(mask, SIDE), lambda photo, mask: photo, 0.9, 0.99)


def new_job(seed: int = 7) -> SampleJob:
    image, mask = textured(SIDE, SIDE, 1), np.zeros((SIDE, SIDE), bool)
    mask[HOLE] = True
    record = Record("a", FAILED, seed=seed)
    return SampleJob(record, b"", Photo(image, "RGB", "PNG"), mask, image, plan_windows(mask, SIDE), seed)


def fill(job: SampleJob) -> None:
    """Fill the hole with noise that depends on seed, strength and mask, as the model does."""
    generator = np.random.default_rng([job.seed, int(100 * (job.strength or 0.99)), int(job.mask.sum())])
    noise = generator.integers(0, 256, job.patch.shape, dtype=np.uint8)
    job.patch[job.mask[job.inside]] = noise[job.mask[job.inside]]


def climbed(ladder: Ladder, job: SampleJob) -> tuple[SampleJob, list[SampleJob]]:
    """The result, and all tries."""
    tries, goes_on = [], True
    while goes_on:
        fill(job)
        tries.append(job)
        job, goes_on = ladder.climb(job)
    return job, tries


def test_clean_result_is_kept_at_the_first_try():
    ladder = ladder_of(detector := Scripted(0))
    result, tries = climbed(ladder, new_job())
    assert tries == [result] and result.record.residual == 0 and result.record.tries == 1
    assert np.array_equal(detector.seen[0][result.inside], result.patch)
    outside = ~result.mask
    assert np.array_equal(detector.seen[0][outside], result.seen[outside])


def test_each_rung_changes_one_thing_and_keeps_the_changes_before():
    _, tries = climbed(ladder_of(Scripted(3, 3, 3, 3, 0)), new_job())
    first, dilated, reseeded, noisy, last = tries
    assert dilated.mask.sum() == (16 + 16) * (24 + 16) and dilated.seed == first.seed
    assert np.array_equal(reseeded.mask, dilated.mask) and reseeded.seed != first.seed and reseeded.strength is None
    assert noisy.strength == 1 and noisy.seed == reseeded.seed
    assert last.seed not in (first.seed, noisy.seed) and last.strength == 1
    assert len({job.patch.tobytes() for job in tries}) == 5
    assert last.record.tries == 5 and last.record.residual == 0 and last.record.seed == last.seed
    assert last.record.mask_fraction == dilated.mask.mean()
    assert last.record.window_count == 4  # of the tries after the first, whose windows are counted when it is prepared


def test_hole_grows_by_what_was_found_as_far_as_it_reaches():
    class Longer:
        """Finds a line that begins in the hole and ends far from it, and another one elsewhere."""

        def __init__(self):
            self.looks = 0

        def find(self, rgb):
            self.looks += 1
            pixels = np.zeros(rgb.shape[:2], bool)
            if self.looks == 1:
                pixels[30:34, 40:60] = pixels[2:6] = True
            return DrawnMask(pixels, 1)

    result, tries = climbed(ladder_of(Longer(), dilate_px=2), new_job())
    assert len(tries) == 2 and result.mask[28:36, 18:62].all() and not result.mask[:20].any()


def test_best_of_all_tries_is_kept_where_none_is_clean():
    result, tries = climbed(ladder_of(Scripted(5, 4, 2, 3, 6)), new_job())
    assert result.patch is tries[2].patch and result.record.tries == 5
    assert result.record.seed == tries[2].seed and result.record.residual == pytest.approx(2 * 24 / (48 * 56))


def test_seam_decides_between_equal_residuals():
    result, tries = climbed(ladder_of(Scripted(2, 2), ladder=["seed"]), new_job())
    scores = [job.border.seam_score for job in tries]
    assert scores[0] != scores[1] and result.border.seam_score == min(scores)


def test_residue_fails_its_sample_where_configured():
    ladder, job = ladder_of(Scripted(2, 1), ladder=["seed"], residue="fail"), new_job()
    with pytest.raises(SampleError, match="tried 2 times") as error:
        climbed(ladder, job)
    assert error.value.kind == "ResidueLeft" and job.record.tries == 2 and job.record.residual > 0


def test_share_below_the_limit_is_clean():
    result, tries = climbed(ladder_of(Scripted(1), max_residual=0.2), new_job())
    assert len(tries) == 1 and 0 < result.record.residual < 0.2


def test_finds_far_from_the_hole_do_not_count():
    class Elsewhere:
        def find(self, rgb):
            pixels = np.zeros(rgb.shape[:2], bool)
            pixels[:8] = True
            return DrawnMask(pixels, 1)

    result, tries = climbed(ladder_of(Elsewhere(), around_px=8), new_job())
    assert len(tries) == 1 and result.record.residual == 0
    _, tries = climbed(ladder_of(Elsewhere(), around_px=20, ladder=["seed"]), new_job())
    assert len(tries) == 2


def test_try_that_would_repeat_the_one_before_is_left_out():
    ladder = replace(ladder_of(Scripted(*[1] * 9), ladder=["dilate", "noise", "seed"]), strength=1.0, max_fraction=0.1)
    _, tries = climbed(ladder, new_job())
    assert [job.rungs for job in tries] == [0, 3]


@settings(deadline=None)
@given(st.integers(0, 2**62), st.lists(st.sampled_from(["dilate", "seed", "noise"]), max_size=6))
def test_result_depends_on_the_sample_alone(seed, rungs):
    """The same pixels, row and number of tries, however often the sample begins again."""
    ladder = ladder_of(Hashed(), ladder=rungs)
    (one, tries), (other, _) = climbed(ladder, new_job(seed)), climbed(ladder, new_job(seed))
    assert np.array_equal(one.patch, other.patch) and one.record == other.record
    residuals = [job.residual for job in tries]
    assert one.record.residual == min(residuals) and all(residuals[:-1]) and len(tries) <= 1 + len(rungs)


def test_fault_of_a_later_try_leaves_the_best_one_before_it():
    class Failing(Scripted):
        def find(self, rgb):
            if len(self.seen) == 1:
                raise SampleError("mask", "BadDetection", "NaN")
            return super().find(rgb)

    result, tries = climbed(ladder_of(Failing(2)), new_job())
    assert len(tries) == 2 and result is tries[0] and result.record.residual > 0 and result.record.tries == 2
    ladder, job = ladder_of(Scripted(2)), new_job()
    fill(job)
    following, _ = ladder.climb(job)
    following.record.error_stage, following.record.error_type = "inpaint", "FloatingPointError"
    assert ladder.recover(following) is job and job.record.error_stage is None and job.record.tries == 2
