"""Random corpora, killed at random points and started again: rows = inputs, each once, every result whole.

The real job with its stages called one after the other in this process, and a storage that kills it before or
after any of its changes.
"""

import hashlib
import io
import shutil
from collections import Counter
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

import pipeline.manifest
import pipeline.run
from pipeline.config import JobConfig, MaskConfig, ModelConfig, RunConfig, SinkConfig, SourceConfig
from pipeline.gpu_actor import InpaintActor
from pipeline.reader import Reader
from pipeline.records import FAILED, OK, UNCHANGED
from pipeline.run import run_job
from pipeline.sinks import ImageSink
from pipeline.storage import Storage


class Killed(BaseException):
    """SIGKILL of the driver: nothing catches it."""


@dataclass
class Scythe:
    """Counts the changes of the storage and strikes at some of them, before or after they are made.

    Args:
        strokes: how many changes go well until the next stroke; whether that change is still made.
    """

    strokes: list[tuple[int, bool]]
    changes: int = 0
    struck: Counter = field(default_factory=Counter)

    def around(self, change):
        def changed(storage, *arguments, **options):
            self.changes += 1
            if not self.strokes or self.changes <= self.strokes[0][0]:
                return change(storage, *arguments, **options)
            _, is_made = self.strokes.pop(0)
            self.changes = 0
            self.struck[change.__name__] += 1
            if is_made:
                change(storage, *arguments, **options)
            raise Killed

        return changed


class PlainActor(InpaintActor):
    """Fills holes by turning their colours around, without a model."""

    def __init__(self, config, weights_fingerprint, run_id, give_back):
        self.config, self.weights_fingerprint, self.run_id, self.name = config, weights_fingerprint, run_id, "here"
        self.reader, self.give_back = Reader(config), give_back
        self.sink = ImageSink(Storage(config.sink.uri), "source")
        self.inpainter = type("Sizes", (), {"window_px": 64})
        self.budget = type("Endless", (), {"take": staticmethod(int), "give_back": staticmethod(int)})
        self.cpus = type("Here", (), {"submit": staticmethod(lambda urgency, work: work())})
        self.loop = self

    def repaint(self, job):
        for number in range(len(job.windows)):
            job.paste(number, 255 - job.cut(number, 64)[0])
        done = Future()
        done.set_result(job)
        return done


def flow_here(config, weights, run_id, pool, worker, units, this_pass):
    actor = PlainActor(config, weights.fingerprint, run_id, this_pass.give_back)
    for unit in range(len(units)):
        yield actor(pa.table({"samples": units.slice(unit, 1)}))


@pytest.fixture
def here(monkeypatch):
    """The job without Ray, with small units, parts and snapshots."""
    monkeypatch.setattr(pipeline.run, "connected", lambda address, block_bytes: nullcontext())
    monkeypatch.setattr(pipeline.run, "node_resources", lambda: [{"CPU": 4}])
    monkeypatch.setattr(pipeline.run, "_start_pass", flow_here)
    monkeypatch.setattr(pipeline.run, "Lease", lambda storage, run_id: nullcontext())
    monkeypatch.setattr(pipeline.supervisor, "FIRST_COMMIT_S", 0.0)
    monkeypatch.setattr(pipeline.manifest, "SNAPSHOT_ROWS", 3)
    return monkeypatch


KINDS = ("good", "good", "good", "empty mask", "no mask", "broken")
photos = st.lists(st.tuples(st.integers(8, 40), st.integers(8, 40), st.sampled_from(KINDS)), min_size=1, max_size=9)
strokes = st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=5)


def write_corpus(folder: Path, corpus) -> dict[str, str]:
    """Photos and masks; returns the status that each must end with."""
    (folder / "photos").mkdir()
    (folder / "masks").mkdir()
    for index, (height, width, kind) in enumerate(corpus):
        pixels = np.random.default_rng(index).integers(0, 256, (height, width, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        data = buffer.getvalue()[: 60 if kind == "broken" else None]
        (folder / "photos" / f"{index}.png").write_bytes(data)
        mask = np.zeros((height, width), np.uint8)
        mask[2:6, 2:7] = 255 * (kind != "empty mask")
        if kind != "no mask":
            Image.fromarray(mask).save(folder / "masks" / f"{index}.png")
    statuses = {"good": OK, "empty mask": UNCHANGED}
    return {f"{index}.png": statuses.get(kind, FAILED) for index, (_, _, kind) in enumerate(corpus)}


def run_until_done(config: JobConfig, scythe: Scythe, monkeypatch) -> None:
    with monkeypatch.context() as patched:
        for name in ("write", "create", "delete"):
            patched.setattr(Storage, name, scythe.around(getattr(Storage, name)))
        for start in range(1 + len(scythe.strokes)):
            try:
                run_job(config, f"run-{start}", lambda rows, total: None)
                return
            except Killed:
                continue
    raise AssertionError("not done although nothing strikes any more")


def check(config: JobConfig, expected: dict[str, str]) -> None:
    out = Path(config.sink.uri)
    rows = pq.read_table(out / "manifest").to_pylist()
    assert Counter(row["sample_id"] for row in rows) == Counter(list(expected))
    assert {row["sample_id"]: row["status"] for row in rows} == expected
    for row in rows:
        if row["output_uri"]:
            assert hashlib.sha256(Path(row["output_uri"]).read_bytes()).hexdigest() == row["output_sha256"]
    named = {row["output_uri"] for row in rows if row["output_uri"]}
    assert {str(path) for path in (out / "data").rglob("*") if path.is_file()} == named
    assert len(list((out / "manifest").iterdir())) <= 16 + 4


@given(corpus=photos, strokes=strokes, changes=photos, later_strokes=strokes)
@settings(
    deadline=None,
    max_examples=30,
    phases=set(Phase) - {Phase.shrink, Phase.explain},
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_rows_are_inputs_each_once_wherever_the_job_is_killed(
    here, tmp_path_factory, corpus, strokes, changes, later_strokes
):
    folder = tmp_path_factory.mktemp("job")
    config = JobConfig(
        source=SourceConfig(uri=f"{folder}/photos"),
        mask=MaskConfig(uri=f"{folder}/masks", max_fraction=1.0),
        model=ModelConfig(weights="nano"),
        sink=SinkConfig(uri=f"{folder}/out"),
    )
    expected = write_corpus(folder, corpus)
    run_until_done(config, Scythe(list(strokes)), here)
    check(config, expected)
    # The corpus changes: some photos are others now, some are gone, all failed ones are tried again.
    for name in ("photos", "masks"):
        shutil.rmtree(folder / name)
    later = write_corpus(folder, changes)
    retried = replace(config, run=RunConfig(retry_failed=True))
    run_until_done(retried, Scythe(list(later_strokes)), here)
    check(config, expected | later)
