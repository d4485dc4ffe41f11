import pytest

import pipeline.worker.worker
from pipeline.manifest.lease import Lease
from pipeline.storage.storage import Storage
from tests.pipeline.worker.setup import Setup


@pytest.fixture
def job(tmp_path, tiny_weights, monkeypatch):
    monkeypatch.setattr(pipeline.worker.worker, "FIRST_PAUSE_S", 0.2)
    setup = Setup(tmp_path, tiny_weights)
    with Lease(Storage(setup.config.sink.uri), "run"):
        yield setup
