"""Measures the flow around the model: throughput against a plain loop, busy share of the model, memory."""

import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from moebius.weights import Weights
from pipeline.config.job import JobConfig, LimitsConfig, MaskConfig, ModelConfig, RunConfig, SinkConfig, SourceConfig
from pipeline.executor.ray_data import RayExecutor
from pipeline.run import run_job
from pipeline.worker.actor import InpaintActor

WINDOW_PX = 512
QUALITY = 90
SAMPLE_EVERY_S = 2.0  # reading the page tables of all processes takes a moment


@dataclass(frozen=True)
class FlowFigures:
    """Figures of one run of the flow.

    Args:
        samples: number of samples.
        samples_per_s: from the first batch of the model to the last.
        wall_s: of the whole job, with the start of the cluster and of the workers.
        busy: share of that time in which the model was at work, over all workers.
        peak_mb: largest memory of the driver and of all processes of its cluster together, shared pages counted once.
    """

    samples: int
    samples_per_s: float
    wall_s: float
    busy: float
    peak_mb: float


def note_call(log: Path, started: float) -> None:
    """Append to a log that a call of the model began then and ends now, as :func:`call_times` reads it."""
    with log.open("a") as file:
        file.write(f"{started} {time.monotonic()}\n")


class SleepingModel:
    """Stands in for the model: takes its time and returns what it was given.

    Args:
        batch_size: windows in one call.
        batch_s: seconds that one call takes.
        log: file that the start and the end of each call are appended to.
    """

    def __init__(self, batch_size: int, batch_s: float, log: Path) -> None:
        self.batch_size, self.batch_s, self.log = batch_size, batch_s, log
        self.device = torch.device("meta")  # like a GPU: one call at a time
        self.window_px = WINDOW_PX
        self.log.touch()

    def generate(
        self,
        pixels: Sequence[np.ndarray],
        masks: Sequence[np.ndarray],
        seeds: Sequence[int],
        noise: None = None,
        strength: float | None = None,
        start: str | None = None,
    ) -> list[np.ndarray]:
        """See :meth:`moebius.Inpainter.generate`."""
        started = time.monotonic()
        if self.batch_s:
            time.sleep(self.batch_s)
        note_call(self.log, started)
        return list(pixels)


class SleepingActor(InpaintActor):
    """A worker that hosts a :class:`SleepingModel`.

    Args:
        arguments: of :class:`InpaintActor`.
        batch_s: seconds per call of the model.
        logs: folder of the logs of calls.
    """

    def __init__(self, *arguments: Any, batch_s: float, logs: Path) -> None:
        self.batch_s, self.logs = batch_s, logs
        super().__init__(*arguments)

    def load_model(self, weights: Weights) -> SleepingModel:  # type: ignore[override]
        """Return a :class:`SleepingModel`; no weights are loaded."""
        size = self.config.model.batch_size
        assert isinstance(size, int)
        return SleepingModel(size, self.batch_s, self.logs / f"{os.getpid()}.log")


def write_corpus(folder: Path, samples: int, side_px: int, distinct: int = 64) -> None:
    """Photos of a side (JPEG, quality 90) below ``photos/`` and masks with one hole below ``masks/``.

    Only so many are distinct, the others are links to them.
    """
    (folder / "photos").mkdir()
    (folder / "masks").mkdir()
    generator = np.random.default_rng(0)
    for index in range(samples):
        photo, mask = folder / "photos" / f"{index:06}.jpg", folder / "masks" / f"{index:06}.png"
        if index >= distinct:
            os.link(folder / "photos" / f"{index % distinct:06}.jpg", photo)
            os.link(folder / "masks" / f"{index % distinct:06}.png", mask)
            continue
        Image.fromarray(_photo(side_px, generator)).save(photo, quality=QUALITY)
        hole = np.zeros((side_px, side_px), np.uint8)
        top, left = generator.integers(0, side_px // 2, 2)
        hole[top : top + side_px // 5, left : left + side_px // 3] = 255
        Image.fromarray(hole).save(mask)


def plain_loop(folder: Path, processes: int) -> float:
    """Return samples per second of a plain loop that decodes photo and mask, and encodes the photo to a file."""
    names = sorted(path.stem for path in (folder / "photos").iterdir())
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(dir=folder) as out, context.Pool(processes) as pool:
        work = partial(_decode_encode, folder, Path(out))
        pool.map(work, names[: processes * 8])  # starts and imports
        started = time.monotonic()
        pool.map(work, names, chunksize=32)
        return len(names) / (time.monotonic() - started)


def measure_flow(folder: Path, actors: int, batch_size: int, batch_s: float) -> FlowFigures:
    """Run the whole job over a corpus with a model that sleeps; needs a machine without a running cluster."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        logs = Path(name) / "logs"
        logs.mkdir()
        executor = RayExecutor(partial(SleepingActor, batch_s=batch_s, logs=logs))
        config = JobConfig(
            source=SourceConfig(uri=str(folder / "photos")),
            mask=MaskConfig(uri=str(folder / "masks")),
            model=ModelConfig(batch_size=batch_size),
            sink=SinkConfig(uri=str(Path(name) / "out")),
            run=RunConfig(actors=actors, address="local"),
            limits=LimitsConfig(max_failed_fraction=0),
        )
        started = time.monotonic()
        with _PeakMemory() as memory:
            summary = run_job(config, "bench", lambda rows, total: None, executor)
        if summary.failed_fraction:
            raise RuntimeError(f"samples failed: {summary.errors}")
        calls = np.array(list(call_times(logs)))
    first, last = calls[:, 0].min(), calls[:, 1].max()
    busy = float((calls[:, 1] - calls[:, 0]).sum() / (actors * (last - first)))
    samples = summary.samples["found"]
    return FlowFigures(samples, samples / float(last - first), time.monotonic() - started, busy, memory.peak_mb)


def _photo(side_px: int, generator: np.random.Generator) -> np.ndarray:
    """Return noise with the spectrum of photos, (side, side, 3) uint8: amplitudes fall with the frequency."""
    frequencies = np.hypot(*np.meshgrid(np.fft.fftfreq(side_px), np.fft.fftfreq(side_px)))
    spectrum = np.fft.fft2(generator.normal(size=(3, side_px, side_px))) / np.maximum(frequencies, 1 / side_px) ** 1.3
    values = np.fft.ifft2(spectrum).real
    values = (values - values.mean()) / values.std()
    return np.clip(128 + 50 * values, 0, 255).astype(np.uint8).transpose(1, 2, 0)


def _decode_encode(folder: Path, out: Path, name: str) -> None:
    photo = np.asarray(Image.open(folder / "photos" / f"{name}.jpg"))
    np.asarray(Image.open(folder / "masks" / f"{name}.png"))
    Image.fromarray(photo).save(out / f"{name}.jpg", quality=QUALITY)


def call_times(logs: Path) -> Iterator[tuple[float, float]]:
    """Yield when each call of a model started and ended, from the logs in a folder."""
    for log in logs.iterdir():
        for line in log.read_text().splitlines():
            started, ended = line.split()
            yield float(started), float(ended)


class _PeakMemory:
    """Records the peak memory of this process and all of its descendants."""

    def __init__(self) -> None:
        self.peak_mb = 0.0
        self._stopped = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_PeakMemory":
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._stopped.wait(SAMPLE_EVERY_S):
            self.peak_mb = max(self.peak_mb, sum(map(_proportional_mb, _family(os.getpid()))))


def _family(ancestor: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(status.parent.name))
    family = [ancestor]
    for process in family:
        family += children.get(process, [])
    return family


def _proportional_mb(process: int) -> float:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)
