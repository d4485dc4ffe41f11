"""``python -m tests.drill.fast_worker CONFIG``: ``moebius inpaint`` with a model that takes no time."""

import sys
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

import jobs.inpaint
import pipeline.run
from moebius.weights import Weights
from pipeline.gpu_actor import InpaintActor


class FastModel:
    """Fills windows with noise that depends on their pixels and their seed."""

    batch_size, window_px, device = 4, 64, torch.device("meta")

    def generate(
        self, pixels: Sequence[np.ndarray], masks: Sequence[np.ndarray], seeds: Sequence[int]
    ) -> list[np.ndarray]:
        return [
            window ^ np.random.default_rng(seed).integers(0, 256, window.shape, dtype=np.uint8)
            for window, seed in zip(pixels, seeds, strict=True)
        ]


class FastWorker(InpaintActor):
    def load_model(self, weights: Weights) -> FastModel:
        return FastModel()


if __name__ == "__main__":
    from tests.drill.fast_worker import FastWorker as Worker  # as workers find it, not as __main__

    pipeline.run.run_job = partial(pipeline.run.run_job, worker=Worker)
    sys.exit(jobs.inpaint.main(sys.argv[1:]))
