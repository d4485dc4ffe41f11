"""Measures planning at scale: a manifest of many finished rows against a listing or a list of as many samples."""

import resource
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from pipeline.bench.sink import RUN_ID, fill_sink, made_up_key
from pipeline.config.job import JobConfig, MaskConfig, SourceConfig
from pipeline.database import Database, without_collector
from pipeline.manifest.log import Manifest
from pipeline.planning.listing import find_samples
from pipeline.planning.plan import make_plan
from pipeline.records import OK
from pipeline.sources.versions import UNCHECKED
from pipeline.storage.storage import Storage, StoredFile

WEIGHTS = "0123456789abcdef"
CHANGED_EVERY = 1000  # samples, so that there is something to do
LISTING, PARQUET, CSV = ORIGINS = ("listing", "list", "csv")
LIST_ROWS = 1_000_000  # in one file of a list
WATCH_S = 0.2


@dataclass(frozen=True)
class PlanFigures:
    """Figures of planning.

    Args:
        rows: in the manifest, and samples in the source.
        todo: samples to do.
        list_s: listing images and masks, or reading the list, and pairing them.
        made_up_s: what making up their names takes of that, which a real listing does not.
        compare_s: reading the manifest and comparing.
        chunks_s: handing out what is to be done.
        plan_cpu_s: processor time of all threads until the plan was handed out; unlike seconds, independent of others.
        compact_s: bringing the manifest into its final form.
        plan_peak_mb, peak_mb: largest memory of the process until the plan was there, and over all.
        disk_mb: largest size of the temporary database.
        manifest_mb, source_mb: size of the manifest, and of the list if there is one.
    """

    rows: int
    todo: int
    list_s: float
    made_up_s: float
    compare_s: float
    chunks_s: float
    plan_cpu_s: float
    compact_s: float
    plan_peak_mb: float
    peak_mb: float
    disk_mb: float
    manifest_mb: float
    source_mb: float


def measure_plan(rows: int, origin: str = LISTING) -> PlanFigures:
    """Write a manifest of so many rows, then plan against as many images and masks, and compact it.

    Args:
        rows: how many.
        origin: ``listing``: made up as it is read; ``list``, ``csv``: files of a list, written first.
            Everything else is what a job does.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name in ("photos", "masks"):
            Path(folder, name).mkdir()
        config, sink = fill_sink(folder, rows, partial(finished_rows, "" if origin == LISTING else UNCHECKED))
        source_mb = 0.0
        if origin != LISTING:
            config, source_mb = _with_list(config, folder, rows, origin)
        open_storage = partial(_MadeUpStorage, rows) if origin == LISTING else Storage
        clock, cpu_s = [time.monotonic()], time.process_time()
        with Database() as database, _DiskUse(database.folder) as disk:
            find_samples(config, database, open_storage=open_storage)
            clock.append(time.monotonic())
            manifest = Manifest(sink)
            plan = make_plan(config, database, WEIGHTS, manifest)
            clock.append(time.monotonic())
            todo = sum(chunk.num_rows for chunk in plan.chunks())
            clock.append(time.monotonic())
        cpu_s, plan_peak_mb = time.process_time() - cpu_s, peak_mb()
        manifest.compact()
        clock.append(time.monotonic())
        size_mb = sum(file.size_bytes for file in sink.list_files("manifest")) / 1e6
    list_s, compare_s, chunks_s, compact_s = map(float, np.diff(clock))
    return PlanFigures(
        rows=rows,
        todo=todo,
        list_s=list_s,
        made_up_s=_making_up_s(rows) if origin == LISTING else 0.0,
        compare_s=compare_s,
        chunks_s=chunks_s,
        plan_cpu_s=cpu_s,
        compact_s=compact_s,
        plan_peak_mb=plan_peak_mb,
        peak_mb=peak_mb(),
        disk_mb=disk.peak_mb,
        manifest_mb=size_mb,
        source_mb=source_mb,
    )


def _with_list(config: JobConfig, folder: str, rows: int, origin: str) -> tuple[JobConfig, float]:
    """Write a list of the images and masks, and return the job over it and its size in MB."""
    lists = Path(folder, "lists")
    lists.mkdir()
    for start in range(0, rows, LIST_ROWS):
        keys, versions = _names_and_versions(start, min(start + LIST_ROWS, rows))
        sizes = pa.array(np.full(len(keys), 100_000))
        columns = {
            "key": keys,
            "size": sizes,
            "etag": versions,
            "mask": keys,
            "mask_size": sizes,
            "mask_etag": versions,
        }
        if origin == PARQUET:
            pq.write_table(pa.table(columns), lists / f"{start:012}.parquet")
        else:
            pyarrow.csv.write_csv(pa.table(columns), lists / f"{start:012}.csv")
    source = SourceConfig(format="list", uri=str(lists), root=config.source.uri)
    listed = replace(config, source=source, mask=MaskConfig(uri=config.mask.uri, column="mask"))
    return listed, sum(file.stat().st_size for file in lists.iterdir()) / 1e6


class _DiskUse:
    """Watches the size of a folder; ``peak_mb`` is the largest."""

    def __init__(self, folder: str) -> None:
        self._folder, self._ended, self.peak_mb = Path(folder), threading.Event(), 0.0
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_DiskUse":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(WATCH_S):
            size = 0
            for file in self._folder.rglob("*"):
                with suppress(FileNotFoundError):
                    size += file.stat().st_blocks * 512
            self.peak_mb = max(self.peak_mb, size / 1e6)


def _version(index: int) -> str:
    return f"{index * 0x9E3779B97F4A7C15 % (1 << 128):032x}"  # as long as an etag


def _listing(files: int) -> Iterator[StoredFile]:
    return (StoredFile(made_up_key(index), 100_000, _version(index)) for index in range(files))


def _making_up_s(rows: int) -> float:
    """Return the seconds that generating the listings of images and masks takes by itself."""
    started = time.monotonic()
    with without_collector():  # as the database reads them
        for listing in (_listing(rows), _listing(rows)):
            deque(listing, maxlen=0)
    return time.monotonic() - started


class _MadeUpStorage(Storage):
    """A storage that lists made-up files.

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


def _names_and_versions(start: int, stop: int) -> tuple[pa.Array, pa.Array]:
    """Return names and versions of samples, equal to those of :func:`_listing`, without an object per sample."""
    numbers = np.arange(start, stop)
    folders, files = (
        pc.utf8_lpad(pa.array(part).cast(pa.string()), width, "0")
        for part, width in ((numbers // 10_000, 6), (numbers, 10))
    )
    keys = pc.binary_join_element_wise(pc.binary_join_element_wise(folders, "/image-", ""), files, "")
    return pc.binary_join_element_wise(keys, ".jpg", ""), pa.array(map(_version, range(start, stop)), pa.string())


def finished_rows(mark: str, config: JobConfig, start: int, stop: int) -> Mapping[str, Any]:
    """Return manifest rows of a finished job, by column.

    Args:
        mark: before each version.
        config: the job.
        start, stop: numbers of the samples.
    """
    count = stop - start
    keys, versions = _names_and_versions(start, stop)
    is_changed = pa.array(np.arange(start, stop) % CHANGED_EVERY == 0)
    masks = pc.if_else(is_changed, "other", versions)
    parts = [mark, versions, f" mask:{mark}", masks]
    return {
        "sample_id": keys,
        "status": [OK] * count,
        "input_uri": pc.binary_join_element_wise(config.source.uri, keys, "/"),
        "input_version": pc.binary_join_element_wise(*parts, ""),
        "mask_uri": pc.binary_join_element_wise(config.mask.uri, keys, "/"),
        "output_uri": pc.binary_join_element_wise(f"{config.sink.uri}/data", keys, "/"),
        "output_sha256": pc.binary_join_element_wise(versions, versions, ""),
        "seed": np.arange(start, stop),
        "seam_score": np.random.default_rng(start).normal(size=count),
        "weights_fingerprint": [WEIGHTS] * count,
        "config_fingerprint": [config.fingerprint] * count,
        "run_id": [RUN_ID] * count,
    }


def peak_mb() -> float:
    """Largest memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
