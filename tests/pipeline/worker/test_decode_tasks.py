"""Decoding in tasks of their own gives the very rows and files that decoding beside the model gives."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pipeline.worker.decode_tasks
from pipeline.config.job import RunConfig, SinkConfig
from pipeline.records import DEFERRED, FAILED, OK, UNCHANGED
from pipeline.storage.storage import Storage
from pipeline.worker.decode_tasks import MAX_WINDOWS
from tests.conftest import make_photos, textured
from tests.pipeline.scenarios.test_run import job, run
from tests.pipeline.worker.test_actor import unit

TIMES = {"started_at", "decode_s", "inpaint_s", "encode_s", "worker", "output_uri"}


@pytest.mark.usefixtures("ray_cluster")
def test_rows_and_bytes_are_those_of_decoding_beside_the_model(tmp_path, tiny_weights):
    photos, masks = make_photos(tmp_path, count=12)
    (photos / "003.png").write_bytes((photos / "003.png").read_bytes()[:80])
    (masks / "004.png").unlink()
    Image.new("L", (96, 80)).save(masks / "005.png")
    Image.fromarray(textured(256, 1600)).save(photos / "many.jpg")
    holes = np.zeros((256, 1600), np.uint8)
    holes[::64, ::40] = 255
    Image.fromarray(holes).save(masks / "many.png")
    config = job(tmp_path, tiny_weights)
    beside = run(config)
    apart = run(replace(config, run=RunConfig(decode="tasks"), sink=SinkConfig(uri=str(tmp_path / "apart"))))
    assert beside["many.jpg"]["window_count"] > MAX_WINDOWS
    assert {row["status"] for row in beside.values()} == {OK, UNCHANGED, FAILED}
    for name, row in beside.items():
        assert {key: value for key, value in row.items() if key not in TIMES} == {
            key: value for key, value in apart.pop(name).items() if key not in TIMES
        }
        if row["output_uri"]:
            other = tmp_path / "apart" / "data" / name
            assert other.read_bytes() == Path(row["output_uri"]).read_bytes()
    assert apart == {}


def test_sample_whose_storage_does_not_answer_is_deferred(tmp_path, tiny_weights, monkeypatch):
    make_photos(tmp_path, count=3)
    config = job(tmp_path, tiny_weights)
    real = Storage.read

    def silent_for_one(storage, key="", *more):
        if key == "001.png":
            raise OSError("no answer")
        return real(storage, key, *more)

    monkeypatch.setattr(Storage, "read", silent_for_one)
    samples = unit("000.png", "001.png", "002.png")
    tables = pipeline.worker.decode_tasks.cut_samples(samples, config, "weights", "run", 64)
    rows = [row for table in tables for row in table.to_pylist()]
    assert [row["pixels"] is None for row in rows] == [False, True, False]
    assert rows[1]["status"] == DEFERRED
    assert (rows[1]["error_stage"], rows[1]["error_message"]) == ("read", "no answer")
