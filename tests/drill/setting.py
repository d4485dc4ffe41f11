"""Samples, storages and configurations of a drill."""

import contextlib
import io
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from pipeline.storage.storage import Storage
from tests.conftest import textured
from tests.drill.fast_worker import BRAKED_S, HANG, KILL

MAX_SHARD_SAMPLES, MIN_SHARDS = 100, 24  # a worker begins a whole shard: few would leave nothing to those that join
SAMPLE_BYTES = 200_000  # of a small disk, for the results of both runs, and for rows and temporary files
MIN_DISK_BYTES = 32 << 20


@dataclass(frozen=True)
class Options:
    """A drill.

    Args:
        seed: of samples and faults.
        samples: their number.
        sink: ``sink.format``.
        store: ``s3``, or ``disk``: a small file system of its own, which needs root.
        faults: names of faults to choose from.
        every_s: mean seconds between two faults.
        faulty: share of S3 requests that always go wrong.
        killers: samples that kill their worker.
        hangs: samples that never end.
        limit_s: for the job under fire.
    """

    seed: int
    samples: int
    sink: str
    store: str
    faults: Sequence[str]
    every_s: float
    faulty: float
    killers: int
    hangs: int
    limit_s: float


def sample_names(options: Options) -> list[str]:
    """Names of all samples, those with faults spread evenly."""
    marks = [KILL] * options.killers + [HANG] * options.hangs
    step = options.samples // (len(marks) + 1)
    faulty = {step * (number + 1): mark for number, mark in enumerate(marks)}
    return [f"{index:05}{faulty.get(index, '.png')}" for index in range(options.samples)]


def upload_samples(storage: Storage, names: Sequence[str], seed: int) -> None:
    """Write a photo and a mask for each name."""
    generator = np.random.default_rng(seed)
    for index, name in enumerate(names):
        height, width = (int(side) for side in generator.integers(40, 160, 2))
        mask = np.zeros((height, width), np.uint8)
        mask[10:25, 10:30] = 255
        for key, array in ((f"photos/{name}", textured(height, width, index)), (f"masks/{name}", mask)):
            buffer = io.BytesIO()
            Image.fromarray(array).save(buffer, "PNG")
            storage.write(key, buffer.getvalue())


def write_config(path: Path, sink: str, options: Options, storage: dict[str, Any], **run: object) -> Path:
    """Write the configuration of a job from the bucket to a sink, and return its path."""
    shard_samples = min(MAX_SHARD_SAMPLES, max(1, options.samples // MIN_SHARDS))
    config = {
        "source": {"uri": "s3://bucket/photos"},
        "mask": {"uri": "s3://bucket/masks"},
        "sink": {"uri": sink, "format": options.sink, "shard_samples": shard_samples},
        "storage": storage,
        "limits": {"sample_s": BRAKED_S + 12, "max_failed_fraction": 1.0},
        "run": {"report": False, **run},
    }
    path.write_text(yaml.safe_dump(config))
    return path


@contextlib.contextmanager
def small_disk(folder: Path, samples: int) -> Iterator[Path]:
    """Mount a file system in memory that the results of so many samples fit into; needs root."""
    size = max(MIN_DISK_BYTES, samples * SAMPLE_BYTES)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def may_mount() -> bool:
    """Return whether this process may mount file systems."""
    return os.geteuid() == 0
