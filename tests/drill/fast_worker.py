"""``python -m tests.drill.fast_worker CONFIG WORKER``: ``moebius inpaint`` with a model that computes nothing."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import jobs.inpaint
from moebius.weights import Weights
from pipeline.executor.local import LocalExecutor
from pipeline.executor.ray_data import RayExecutor
from pipeline.worker.actor import InpaintActor, SampleTask

KILL, HANG = "-kill.png", "-hang.png"
UNFIT = "MOEBIUS_DRILL_UNFIT"  # variable of the environment of a node
BRAKE = "MOEBIUS_DRILL_BRAKE"  # variable of the environment of a node: a file; while it exists, the model is slow
BRAKED_S = 8.0  # per window


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


class BrakedModel(FastModel):
    """Takes its time while the drill has faults left, so that none of them meets a job that is already done."""

    batch_size = 1

    def generate(self, *given: Sequence) -> list[np.ndarray]:
        deadline = time.monotonic() + BRAKED_S
        while time.monotonic() < deadline and Path(os.environ.get(BRAKE, "")).is_file():
            time.sleep(0.2)
        return super().generate(*given)


class BrokenModel(FastModel):
    def generate(self, *_: Sequence) -> list[np.ndarray]:
        raise FloatingPointError("the model produced NaN or infinite pixels")


class FastWorker(InpaintActor):
    def load_model(self, weights: Weights) -> FastModel:
        return FastModel()


class FaultyWorker(InpaintActor):
    """Dies of samples called ``…-kill.png``, hangs with ``…-hang.png``, and does nothing on an unfit node."""

    def load_model(self, weights: Weights) -> FastModel:
        return BrokenModel() if UNFIT in os.environ else BrakedModel()

    def _decode(self, task: SampleTask, *given: Any) -> None:
        if task.record.sample_id.endswith(KILL):
            os.kill(os.getpid(), signal.SIGKILL)
        if task.record.sample_id.endswith(HANG):
            time.sleep(3600)
        super()._decode(task, *given)


EXECUTORS = {"FastWorker": LocalExecutor, "FaultyWorker": RayExecutor}

if __name__ == "__main__":
    from tests.drill import fast_worker  # as workers find it, not as __main__

    config, name, *overrides = sys.argv[1:]
    sys.exit(jobs.inpaint.main([config, *overrides], EXECUTORS[name](getattr(fast_worker, name))))
