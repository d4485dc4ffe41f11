"""The worker without Ray: what it does when a storage does not answer, and how it holds its memory."""

import errno

import numpy as np
import pyarrow as pa
import pytest
import torch

import pipeline.worker.actor
from pipeline.config.job import JobConfig, MaskConfig, ModelConfig, SinkConfig, SourceConfig
from pipeline.errors import ConfigError
from pipeline.faults.roster import Roster
from pipeline.manifest.lease import Lease
from pipeline.masks.base import pinned
from pipeline.records import DEFERRED, HELD, OK, SAMPLE_SCHEMA
from pipeline.storage.backends.local import LocalBackend
from pipeline.storage.errors import CredentialsError
from pipeline.storage.storage import Storage
from pipeline.storage.weights import fetch_weights
from pipeline.worker.actor import InpaintActor
from pipeline.worker.pool import Pool
from tests.conftest import make_photos, planned_sample
from tests.pipeline.detection.onnx_models import red_box


class Echo:
    """Stands in for the model."""

    batch_size, window_px, device = 4, 64, torch.device("meta")

    def generate(self, pixels, masks, seeds):
        return [255 - window for window in pixels]


class EchoActor(InpaintActor):
    def load_model(self, weights):
        return Echo()


@pytest.fixture
def worker(tmp_path, tiny_weights):
    photos, masks = make_photos(tmp_path, count=6)
    config = JobConfig(
        source=SourceConfig(uri=str(photos)),
        mask=MaskConfig(uri=str(masks)),
        model=ModelConfig(weights=str(tiny_weights)),
        sink=SinkConfig(uri=str(tmp_path / "out")),
    )

    def make() -> InpaintActor:
        fingerprint = fetch_weights(config.model.weights, {}).fingerprint
        return EchoActor(config, fingerprint, "run", Pool(1, 0, 1, 2), Roster())

    with Lease(Storage(config.sink.uri), "run"):
        yield make


def unit(*names: str) -> pa.Table:
    samples = [planned_sample(name) for name in names]
    return pa.table({"samples": pa.array([samples], pa.list_(pa.struct(list(SAMPLE_SCHEMA))))})


NAMES = [f"{index:03}.png" for index in range(6)]


def test_unit_becomes_rows_in_order_and_files(worker, tmp_path):
    rows = worker()(unit(*NAMES)).to_pylist()
    assert [row["sample_id"] for row in rows] == NAMES
    for row in rows:
        assert row["status"] == OK and row["run_id"] == "run"
        assert (tmp_path / "out" / "data" / row["sample_id"]).stat().st_size == row["output_bytes"]


def test_worker_fetches_the_model_of_its_masks_and_refuses_another_one(tmp_path, tiny_weights, s3_server, monkeypatch):
    monkeypatch.setenv("MOEBIUS_HOME", str(tmp_path / "home"))
    storage = Storage(f"s3://bucket/{tmp_path.name}", s3_server)
    storage.upload("red.onnx", str(red_box(tmp_path / "red.onnx")))
    photos, _ = make_photos(tmp_path, count=1)
    config = JobConfig(
        source=SourceConfig(uri=str(photos)),
        mask=MaskConfig(kind="detect", model=storage.uri("red.onnx")),
        model=ModelConfig(weights=str(tiny_weights)),
        sink=SinkConfig(uri=str(tmp_path / "out")),
        storage=s3_server,
    )
    config = pinned(config)
    pool, fingerprint = Pool(1, 0, 1, 2), fetch_weights(config.model.weights, {}).fingerprint
    with Lease(Storage(config.sink.uri), "run"):
        (row,) = EchoActor(config, fingerprint, "run", pool, Roster())(unit("000.png")).to_pylist()
        assert row["status"] == OK and row["mask_objects"] == 1
        storage.upload("red.onnx", str(red_box(tmp_path / "other.onnx", shape=(1, 3, 32, 32))))
        with pytest.raises(ConfigError, match=r"on this machine, mask\.model_sha256 is"):
            EchoActor(config, fingerprint, "run", pool, Roster())


@pytest.mark.parametrize("broken", ["read", "write"])
def test_sample_whose_storage_does_not_answer_is_deferred(worker, monkeypatch, broken):
    kind, method = {"read": (Storage, "read"), "write": (LocalBackend, "_stage")}[broken]
    real = getattr(kind, method)

    def silent_for_one(storage, key="", *data):
        if key.endswith("002.png"):
            raise OSError("no answer")
        return real(storage, key, *data)

    monkeypatch.setattr(kind, method, silent_for_one)
    rows = {row["sample_id"]: row for row in worker()(unit(*NAMES)).to_pylist()}
    silent = rows.pop("002.png")
    assert {row["status"] for row in rows.values()} == {OK}
    assert silent["status"] == DEFERRED
    assert (silent["error_stage"], silent["error_message"]) == (broken, "no answer")
    assert silent["output_uri"] is silent["output_bytes"] is silent["output_sha256"] is None


def test_samples_whose_credentials_are_refused_are_held(worker, monkeypatch):
    def refuse(*_):
        raise CredentialsError(errno.EACCES, "ExpiredToken: the token has expired")

    monkeypatch.setattr(Storage, "read", refuse)
    rows = worker()(unit(*NAMES)).to_pylist()
    assert {(row["status"], row["error_type"]) for row in rows} == {(HELD, "CredentialsError")}


def test_more_samples_than_places_in_memory_all_get_through(worker):
    actor = worker()
    actor.budget.min_bytes = actor.budget.total_bytes  # one at a time
    rows = actor(unit(*NAMES, "gone.png")).to_pylist()
    assert [row["status"] for row in rows] == [OK] * 6 + [DEFERRED]
    assert actor.budget._free_bytes == actor.budget.total_bytes


def test_static_mask_is_read_once(worker, monkeypatch, tmp_path):
    actor = worker()
    config = JobConfig(
        source=actor.config.source, mask=MaskConfig(kind="static", uri=str(tmp_path / "masks" / "000.png"))
    )
    reader, reads = pipeline.worker.actor.Reader(config), []
    real = Storage.read
    monkeypatch.setattr(Storage, "read", lambda storage, key="", *more: reads.append(key) or real(storage, key, *more))
    for inputs in reader.read_all([planned_sample(name, mask_key="") for name in NAMES]):
        assert np.frombuffer(inputs.mask, np.uint8).size
    assert sorted(reads) == ["", *NAMES]
