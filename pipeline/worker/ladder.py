"""Verified removal: look at each result again, and try again where something is left."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy import ndimage

from moebius.windows import Box, Window, plan_windows
from moebius.windows.seeds import window_seed
from pipeline.codecs.photo import Photo
from pipeline.config.job import JobConfig
from pipeline.config.verify import VerifyConfig
from pipeline.detection.detector import Detector, open_detector
from pipeline.errors import SampleError
from pipeline.masks.base import revealed
from pipeline.masks.refine import dilate
from pipeline.worker.sample_job import SampleJob
from pipeline.worker.seam import look_at_border

NOISE = 1.0  # strength


@dataclass(frozen=True)
class Ladder:
    """Decides after each try of a sample whether it is tried again, and how.

    What it knows of a sample is in the sample's job, so nothing is stored: a sample that is lost with its worker begins
    again and comes to the same result.

    Args:
        verify: the settings.
        detector: looks at results.
        plan: returns the windows of a mask.
        reveal: returns the photo to inpaint under a mask, see :func:`pipeline.masks.base.revealed`.
        max_fraction: of the image that a mask may cover; a hole is not grown beyond it.
        strength: of the first try.
    """

    verify: VerifyConfig
    detector: Detector
    plan: Callable[[np.ndarray], list[Window]]
    reveal: Callable[[Photo, np.ndarray], Photo]
    max_fraction: float
    strength: float

    @classmethod
    def of_job(cls, config: JobConfig, window_px: int) -> "Ladder | None":
        """Create the ladder of a job; ``None`` where results are not verified."""
        if (found := config.verifying_detector) is None:
            return None
        window = config.window

        def plan(mask: np.ndarray) -> list[Window]:
            return plan_windows(mask, window_px, window.context, window.max_upscale)

        reveal, most = partial(revealed, config=config.mask), config.mask.max_fraction
        return cls(config.verify, open_detector(found), plan, reveal, most, config.model.strength)

    def climb(self, job: SampleJob) -> tuple[SampleJob, bool]:
        """Look at a try whose windows are filled.

        Returns:
            The next try and true; or the best of all tries and false, when its record says what is left.

        Raises:
            SampleError: something is left and ``verify.residue`` says fail, or the detector cannot judge the result.
        """
        record, verify = job.record, self.verify
        record.tries = (record.tries or 0) + 1
        try:
            job.residual, job.found = self.look(job)
        except SampleError:
            if job.best is None:
                raise
            return self._keep(job.best), False
        job.border = look_at_border(job.patch, job.mask[job.inside])
        best = min((each for each in (job.best, job) if each), key=_rank)
        is_left = best.residual > verify.max_residual
        for number in range(job.rungs, len(verify.ladder) if is_left else 0):
            if following := self._next_try(job, number):
                best.best = best.found = None
                following.rungs, following.best, following.found = number + 1, best, None
                record.window_count = (record.window_count or 0) + following.window_count
                return following, True
        return self._keep(best), False

    def recover(self, job: SampleJob) -> SampleJob:
        """Return the best of the tries before one that failed; the failed try does not fail the sample."""
        assert job.best is not None
        record = job.record
        record.error_stage = record.error_type = record.error_message = None
        record.tries = (record.tries or 0) + 1
        return self._keep(job.best)

    def _keep(self, best: SampleJob) -> SampleJob:
        """Record the residual of the best try, and return that try.

        Raises:
            SampleError: something is left, and ``verify.residue`` says fail.
        """
        record = best.record
        record.residual, record.seed = best.residual, best.seed
        record.mask_fraction = np.count_nonzero(best.mask) / best.mask.size
        if best.residual > self.verify.max_residual and self.verify.residue == "fail":
            left = f"the detector still finds something in {best.residual:.1%} of the hole and its border"
            raise SampleError("inpaint", "ResidueLeft", f"{left}; tried {record.tries} times, verify.residue=fail")
        return best

    def look(self, job: SampleJob) -> tuple[float, np.ndarray]:
        """Look for what is left in the hole and in the border around it.

        Returns:
            The share of hole and border in which the detector finds something; and all of the finds that reach into
            them, (H, W) bool.
        """
        result, around_px = job.seen.copy(), self.verify.around_px
        result[job.inside] = job.patch
        found = self.detector.find(result).pixels
        hole = Box.around(job.mask)
        assert hole is not None  # there are windows
        region = hole.grown(around_px, job.mask.shape).slices
        zone = dilate(job.mask[region], around_px)
        left = found[region] & zone
        return np.count_nonzero(left) / np.count_nonzero(zone), _touched(found, region, left)

    def _next_try(self, job: SampleJob, number: int) -> SampleJob | None:
        """Return a job of one more change; ``None`` where it would repeat the one before."""
        rung = self.verify.ladder[number]
        if rung == "seed":
            return replace(job, seed=window_seed(job.seed, f"try/{number}"))
        if rung == "noise":
            strength = self.strength if job.strength is None else job.strength
            return None if strength == NOISE else replace(job, strength=NOISE)
        mask = dilate(job.mask if job.found is None else job.mask | job.found, self.verify.dilate_px)
        if np.count_nonzero(mask) > self.max_fraction * mask.size or np.array_equal(mask, job.mask):
            return None
        return replace(job, mask=mask, windows=self.plan(mask), photo=self.reveal(job.photo, mask))


def _touched(found: np.ndarray, region: tuple[slice, slice], left: np.ndarray) -> np.ndarray:
    """Return the connected parts of ``found``, (H, W) bool, that hold a pixel of ``left``, which is of a region."""
    if not left.any():
        return np.zeros_like(found)
    numbered, count = ndimage.label(found)
    is_touched = np.zeros(count + 1, bool)
    is_touched[numbered[region][left]] = True
    return is_touched[numbered]


def _rank(job: SampleJob) -> tuple[float, bool, float]:
    """Return how good a try is; smaller is better."""
    assert job.border is not None
    return job.residual, job.border.suspicious is not None, job.border.seam_score or 0.0
