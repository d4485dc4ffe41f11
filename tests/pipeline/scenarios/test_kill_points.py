"""Random corpora, killed at random points and started again: rows = inputs, each once, every result whole.

The real job with its stages called one after the other in this process, and a storage that kills it before or
after any of its changes.
"""

import hashlib
import io
import shutil
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.config.job import JobConfig, MaskConfig, ModelConfig, RunConfig, SinkConfig, SourceConfig
from pipeline.config.verify import VerifyConfig
from pipeline.records import FAILED, OK, UNCHANGED
from pipeline.sinks.results import read_result
from pipeline.sinks.shards import sample_count
from pipeline.storage.local import StagedFile
from pipeline.storage.storage import Storage
from tests.pipeline.flow_here import run_here


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


KINDS = ("good", "good", "good", "empty mask", "no mask", "broken")
SINKS = ("images", "webdataset", "parquet")
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
        for owner, name in ((StagedFile, "place"), (Storage, "delete")):  # whatever changes the sink ends in these
            patched.setattr(owner, name, scythe.around(getattr(owner, name)))
        for start in range(1 + len(scythe.strokes)):
            try:
                run_here(config, f"run-{start}")
                return
            except Killed:
                continue
    raise AssertionError("not done although nothing strikes any more")


def run_slices_until_done(config: JobConfig, count: int, scythe: Scythe, monkeypatch) -> None:
    """Run the driver of each slice until it is done, one after the other, or with no count a run over all."""
    for index in range(count or 1):
        own_slice = f"{index}/{count}" if count else None
        run_until_done(replace(config, run=replace(config.run, slice=own_slice)), scythe, monkeypatch)


def check(config: JobConfig, expected: dict[str, str]) -> None:
    out = Path(config.sink.uri)
    rows = pq.read_table(out / "manifest").to_pylist()
    assert Counter(row["sample_id"] for row in rows) == Counter(list(expected))
    assert {row["sample_id"]: row["status"] for row in rows} == expected
    for row in rows:
        if row["output_uri"]:
            assert hashlib.sha256(read_result(row, {})).hexdigest() == row["output_sha256"]
    shards = Counter(row["output_uri"] for row in rows if row["output_member"] is not None)
    assert all(sample_count(uri) == count for uri, count in shards.items())  # nothing in them but what rows name
    named = {row["output_uri"] for row in rows if row["output_uri"]}
    assert {str(path) for path in (out / "data").rglob("*") if path.is_file()} == named
    assert len(list((out / "manifest").iterdir())) <= 16 + 4


def kill_and_check(here, tmp_path_factory, corpus, strokes, changes, later_strokes, sink, slices) -> None:
    """Run a job, over a corpus and then over a changed one, that is killed at strokes; check what is left."""
    folder = tmp_path_factory.mktemp("job")
    config = JobConfig(
        source=SourceConfig(uri=f"{folder}/photos"),
        mask=MaskConfig(uri=f"{folder}/masks", max_fraction=1.0),
        model=ModelConfig(weights="untrained"),
        sink=SinkConfig(uri=f"{folder}/out", format=sink, shard_samples=3),
    )
    expected = write_corpus(folder, corpus)
    run_slices_until_done(config, slices[0], Scythe(list(strokes)), here)
    check(config, expected)
    # The corpus changes: some photos are others now, some are gone, all failed ones are tried again.
    for name in ("photos", "masks"):
        shutil.rmtree(folder / name)
    later = write_corpus(folder, changes)
    retried = replace(config, run=RunConfig(retry_failed=True))
    run_slices_until_done(retried, slices[1], Scythe(list(later_strokes)), here)
    check(config, expected | later)


killed_jobs = given(
    corpus=photos,
    strokes=strokes,
    changes=photos,
    later_strokes=strokes,
    sink=st.sampled_from(SINKS),
    slices=st.tuples(st.sampled_from([0, 0, 2, 3]), st.sampled_from([0, 0, 2, 3])),
)
examples_of = partial(
    settings,
    deadline=None,
    phases=set(Phase) - {Phase.shrink, Phase.explain},
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


# Between a shard that is written anew and its rows, after which the next run finds it and makes the very same.
@example(
    corpus=[(39, 18, "good"), (15, 25, "good"), (36, 37, "good"), (27, 24, "good")],
    strokes=[],
    changes=[(22, 18, "good")],
    later_strokes=[(3, True)],
    sink="parquet",
    slices=(0, 0),
)
@killed_jobs
@examples_of(max_examples=8)
def test_rows_are_inputs_each_once_wherever_the_job_is_killed(here, tmp_path_factory, **job):
    kill_and_check(here, tmp_path_factory, **job)


@pytest.mark.slow
@killed_jobs
@examples_of(max_examples=150)
def test_rows_are_inputs_each_once_wherever_many_jobs_are_killed(here, tmp_path_factory, **job):
    kill_and_check(here, tmp_path_factory, **job)


def verdicts(config: JobConfig) -> dict[str, tuple]:
    rows = pq.read_table(Path(config.sink.uri) / "manifest").to_pylist()
    names = ("status", "residual", "tries", "seed", "mask_fraction", "window_count", "output_sha256")
    return {row["sample_id"]: tuple(row[name] for name in names) for row in rows}


@given(corpus=photos, strokes=strokes, sink=st.sampled_from(SINKS), residue=st.sampled_from(["keep", "fail"]))
@settings(
    deadline=None,
    max_examples=8,
    phases=set(Phase) - {Phase.shrink, Phase.explain},
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_ladder_comes_to_the_same_results_wherever_the_job_is_killed(
    here, tmp_path_factory, corpus, strokes, sink, residue
):
    folder = tmp_path_factory.mktemp("job")
    detector = {"kind": "python", "function": "tests.pipeline.hashed_residue:find"}
    config = JobConfig(
        source=SourceConfig(uri=f"{folder}/photos"),
        mask=MaskConfig(uri=f"{folder}/masks", max_fraction=1.0),
        model=ModelConfig(weights="untrained"),
        sink=SinkConfig(uri=f"{folder}/out", format=sink, shard_samples=3),
        verify=VerifyConfig(model=detector, ladder=["dilate"] * 4, dilate_px=1, residue=residue),
    )
    write_corpus(folder, corpus)
    run_until_done(config, Scythe(list(strokes)), here)
    undisturbed = replace(config, sink=replace(config.sink, uri=f"{folder}/undisturbed"))
    run_until_done(undisturbed, Scythe([]), here)
    assert verdicts(config) == verdicts(undisturbed)
