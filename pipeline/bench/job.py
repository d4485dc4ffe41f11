"""Measures the throughput of the whole job against that of the bare model on the same windows."""

import os
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import torch
from PIL import Image

from moebius import Inpainter
from moebius.weights import Weights
from moebius.windows import cut_window, plan_windows
from pipeline.bench.flow import call_times, note_call, write_corpus
from pipeline.config.job import JobConfig, LimitsConfig, MaskConfig, ModelConfig, RunConfig, SinkConfig, SourceConfig
from pipeline.executor.ray_data import RayExecutor
from pipeline.run import run_job
from pipeline.storage.weights import fetch_weights
from pipeline.worker.actor import InpaintActor
from pipeline.worker.pool import size_pool


@dataclass(frozen=True)
class JobFigures:
    """Figures of one run of the job.

    Args:
        samples: photos, one window each.
        evaluations_per_image: of the denoiser, for one window; a guided step takes two.
        threads: of the model, in the job and without it.
        job_images_per_s: from the first call of the model to the end of the last one.
        bare_images_per_s: of the bare model over the same windows, half of them before the job and half after it.
        of_bare: ``job_images_per_s`` ÷ ``bare_images_per_s``.
        wall_s: of the whole job, with the start of the cluster, of the worker and of the model.
    """

    samples: int
    evaluations_per_image: int
    threads: int
    job_images_per_s: float
    bare_images_per_s: float
    of_bare: float
    wall_s: float


class TimedInpainter(Inpainter):
    """Notes when each call starts and ends, in files of the folder ``logs``."""

    logs: Path

    def generate(
        self,
        pixels: Sequence[np.ndarray],
        masks: Sequence[np.ndarray],
        seeds: Sequence[int],
        noise: torch.Tensor | np.ndarray | None = None,
        strength: float | None = None,
        start: str | None = None,
    ) -> np.ndarray:
        """See :meth:`moebius.Inpainter.generate`."""
        started = time.monotonic()
        pictures = super().generate(pixels, masks, seeds, noise, strength, start)
        note_call(Path(self.logs, f"{os.getpid()}-{threading.get_ident()}.log"), started)
        return pictures


class TimedActor(InpaintActor):
    """A worker that hosts a :class:`TimedInpainter`.

    Args:
        arguments: of :class:`InpaintActor`.
        logs: folder of the logs of calls.
    """

    def __init__(self, *arguments: Any, logs: Path) -> None:
        self.logs = logs
        super().__init__(*arguments)

    def load_model(self, weights: Weights) -> Inpainter:
        """Load a :class:`TimedInpainter` on this worker's device."""
        inpainter = TimedInpainter(*weights.load(), settings=self.config.inpaint_settings)
        inpainter.logs = self.logs
        return inpainter


def measure_job(weights: str, samples: int, steps: int) -> JobFigures:
    """Run the job with one worker that has the whole machine, and the bare model with as many threads around it."""
    with tempfile.TemporaryDirectory(prefix="moebius-bench-") as name:
        folder = Path(name)
        model = fetch_weights(weights, {})
        write_corpus(folder, samples, model.config.image_size)
        (folder / "logs").mkdir()
        config = JobConfig(
            source=SourceConfig(uri=str(folder / "photos")),
            mask=MaskConfig(uri=str(folder / "masks")),
            model=ModelConfig(weights=weights, steps=steps),
            sink=SinkConfig(uri=str(folder / "out")),
            run=RunConfig(actors=1, address="local"),
            limits=LimitsConfig(max_failed_fraction=0),
        )
        node = {"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}
        threads = size_pool(config.run, [node]).threads
        photos = sorted((folder / "photos").iterdir())
        bare_s = _bare_s(model, config, photos[::2], threads)
        started = time.monotonic()
        executor = RayExecutor(partial(TimedActor, logs=folder / "logs"))
        summary = run_job(config, "bench", lambda rows, total: None, executor)
        wall_s = time.monotonic() - started
        bare = samples / (bare_s + _bare_s(model, config, photos[1::2], threads))
        if summary.failed_fraction:
            raise RuntimeError(f"samples failed: {summary.errors}")
        calls = np.array(list(call_times(folder / "logs")))
    in_job = samples / float(calls[:, 1].max() - calls[:, 0].min())
    evaluations = config.inpaint_settings.evaluations(config.model.strength)
    return JobFigures(samples, evaluations, threads, in_job, bare, in_job / bare, wall_s)


def _bare_s(weights: Weights, config: JobConfig, photos: Sequence[Path], threads: int) -> float:
    """Return the seconds of the model for batches of windows; on a CPU with single-core threads, as in a worker."""
    inpainter = Inpainter(*weights.load(), settings=config.inpaint_settings)
    cuts = [_cut(path, inpainter) for path in photos]
    batches: SimpleQueue[list[tuple[np.ndarray, np.ndarray]]] = SimpleQueue()
    size = inpainter.batch_size
    for start in range(0, len(cuts), size):
        batches.put(cuts[start : start + size])

    def run() -> None:
        if inpainter.device.type == "cpu":
            torch.set_num_threads(1)
        while True:
            try:
                batch = batches.get_nowait()
            except Empty:
                return
            inpainter.fill([pixels for pixels, _ in batch], [hole for _, hole in batch], range(len(batch)))

    runners = [threading.Thread(target=run) for _ in range(threads if inpainter.device.type == "cpu" else 1)]
    started = time.monotonic()
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()
    return time.monotonic() - started


def _cut(photo: Path, inpainter: Inpainter) -> tuple[np.ndarray, np.ndarray]:
    image = np.asarray(Image.open(photo))
    mask = np.asarray(Image.open(photo.parent.parent / "masks" / f"{photo.stem}.png")) > 0
    settings = inpainter.settings
    (window,) = plan_windows(mask, inpainter.window_px, settings.context, settings.max_upscale)
    return cut_window(image, mask, window, inpainter.window_px)
