"""Measures planning at scale: a manifest of many finished rows against a source of as many samples."""

import resource
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.bench.sink import RUN_ID, fill_sink, made_up_key
from pipeline.config.job import JobConfig
from pipeline.database import Database, without_collector
from pipeline.manifest.log import Manifest
from pipeline.planning.listing import find_samples
from pipeline.planning.plan import make_plan
from pipeline.records import OK
from pipeline.storage.storage import Storage, StoredFile

WEIGHTS = "0123456789abcdef"
CHANGED_EVERY = 1000  # samples, so that there is something to do


@dataclass(frozen=True)
class PlanFigures:
    """Figures of planning.

    Args:
        rows: in the manifest, and samples in the source.
        todo: samples to do.
        list_s: listing images and masks and pairing them.
        made_up_s: what making up their names takes of that, which a real listing does not.
        compare_s: reading the manifest and comparing.
        chunks_s: handing out what is to be done.
        compact_s: bringing the manifest into its final form.
        plan_peak_mb, peak_mb: largest memory of the process until the plan was there, and over all.
        manifest_mb: size of the manifest.
    """

    rows: int
    todo: int
    list_s: float
    made_up_s: float
    compare_s: float
    chunks_s: float
    compact_s: float
    plan_peak_mb: float
    peak_mb: float
    manifest_mb: float


def measure_plan(rows: int) -> PlanFigures:
    """Write a manifest of so many rows, then plan against a listing of as many images and masks, and compact it.

    The listing is made up as it is read; everything else is what a job does.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name in ("photos", "masks"):
            Path(folder, name).mkdir()
        config, sink = fill_sink(folder, rows, _finished)
        clock = [time.monotonic()]
        with Database() as database:
            find_samples(config, database, open_storage=partial(_MadeUpStorage, rows))
            clock.append(time.monotonic())
            manifest = Manifest(sink)
            plan = make_plan(config, database, WEIGHTS, manifest)
            clock.append(time.monotonic())
            todo = sum(chunk.num_rows for chunk in plan.chunks())
            clock.append(time.monotonic())
        plan_peak_mb = peak_mb()
        manifest.compact()
        clock.append(time.monotonic())
        size_mb = sum(file.size_bytes for file in sink.list_files("manifest")) / 1e6
    list_s, compare_s, chunks_s, compact_s = map(float, np.diff(clock))
    return PlanFigures(
        rows, todo, list_s, _making_up_s(rows), compare_s, chunks_s, compact_s, plan_peak_mb, peak_mb(), size_mb
    )


def _version(index: int) -> str:
    return f"{index * 0x9E3779B97F4A7C15 % (1 << 128):032x}"  # as long as an etag


def _listing(files: int) -> Iterator[StoredFile]:
    return (StoredFile(made_up_key(index), 100_000, _version(index)) for index in range(files))


def _making_up_s(rows: int) -> float:
    """Seconds that the listings of images and masks take by themselves."""
    started = time.monotonic()
    with without_collector():  # as the database reads them
        for listing in (_listing(rows), _listing(rows)):
            deque(listing, maxlen=0)
    return time.monotonic() - started


class _MadeUpStorage(Storage):
    """A folder that lists files which are not there.

    Args:
        files: how many.
        uri, options: of the folder.
    """

    def __init__(self, files: int, uri: str, options: Mapping[str, Any]) -> None:
        super().__init__(uri, options)
        self.files = files

    def list_files(self, below: str = "", dead_links: bool = False) -> Iterator[StoredFile]:
        """See :meth:`pipeline.storage.storage.Storage.list_files`."""
        return _listing(self.files)


def _finished(config: JobConfig, start: int, stop: int) -> Mapping[str, Any]:
    """Rows as a finished job leaves them."""
    numbers, count = range(start, stop), stop - start
    keys, versions = [made_up_key(number) for number in numbers], [_version(number) for number in numbers]
    return {
        "sample_id": keys,
        "status": [OK] * count,
        "input_uri": [f"{config.source.uri}/{key}" for key in keys],
        "input_version": [
            f"{version} mask:{version if number % CHANGED_EVERY else 'other'}"
            for number, version in zip(numbers, versions, strict=True)
        ],
        "mask_uri": [f"{config.mask.uri}/{key}" for key in keys],
        "output_uri": [f"{config.sink.uri}/data/{key}" for key in keys],
        "output_sha256": [version * 2 for version in versions],
        "seed": list(numbers),
        "seam_score": np.random.default_rng(start).normal(size=count),
        "weights_fingerprint": [WEIGHTS] * count,
        "config_fingerprint": [config.fingerprint] * count,
        "run_id": [RUN_ID] * count,
    }


def peak_mb() -> float:
    """Largest memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
