"""What a job does and leaves, run after run; its model and its stages run in this process, without Ray."""

import hashlib
import json
import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

import pipeline.manifest.commit
from pipeline.config.job import MaskConfig, ModelConfig, RunConfig, SinkConfig, SourceConfig
from pipeline.errors import ConfigError, JobError
from pipeline.executor.local import LocalExecutor
from pipeline.records import FAILED, OK, UNCHANGED
from pipeline.worker.actor import InpaintActor
from tests.conftest import make_photos, textured
from tests.pipeline.scenarios.test_run import job
from tests.pipeline.scenarios.test_run import run as run_on

pytestmark = pytest.mark.usefixtures("model_here")
run = partial(run_on, executor=LocalExecutor())


def test_run_file_says_what_was_done_with_what(tmp_path, tiny_weights):
    make_photos(tmp_path, count=2)
    config = replace(job(tmp_path, tiny_weights), storage={"secret": "hush"})
    run(config, "the-run")
    text = (tmp_path / "out" / "runs" / "the-run.json").read_text()
    assert "hush" not in text
    summary = json.loads(text)
    assert summary["state"] == "ended"
    counts = {"found": 2, "gone": 0, "forgotten": 0, "without_mask": 0, "done_now": 2, "ok": 2}
    assert summary["samples"] == counts
    assert summary["weights"]["trained"] and len(summary["weights"]["sha256"]) == 3
    assert summary["configuration"]["model"]["steps"] == 2
    assert summary["versions"]["ray"]


def test_result_does_not_depend_on_neighbours_or_units(tmp_path, tiny_weights):
    model = ModelConfig(weights=str(tiny_weights), steps=2, batch_size=4)
    make_photos(tmp_path / "many", count=7)
    many = run(replace(job(tmp_path / "many", tiny_weights), model=model))
    shutil.copytree(tmp_path / "many" / "photos", tmp_path / "one" / "photos")
    shutil.copytree(tmp_path / "many" / "masks", tmp_path / "one" / "masks")
    source = SourceConfig(uri=f"{tmp_path}/one/photos", pattern="003*")
    alone = run(replace(job(tmp_path / "one", tiny_weights), model=model, source=source))
    assert alone["003.png"]["output_sha256"] == many["003.png"]["output_sha256"]


def test_second_run_does_only_what_is_new_changed_or_asked_for(tmp_path, tiny_weights):
    photos, masks = make_photos(tmp_path, count=3)
    (masks / "002.png").unlink()
    config = job(tmp_path, tiny_weights)
    first = run(config, "first")
    assert first["002.png"]["error_type"] == "MissingMask"
    shutil.copy(photos / "000.png", photos / "new.png")
    shutil.copy(masks / "000.png", masks / "new.png")
    Image.fromarray(textured(80, 96, seed=99)).save(photos / "001.png")
    second = run(config, "second")
    assert {name: row["run_id"] for name, row in second.items()} == {
        "000.png": "first",
        "001.png": "second",
        "002.png": "first",
        "new.png": "second",
    }
    third = run(replace(config, run=RunConfig(retry_failed=True)), "third")
    assert third["002.png"]["run_id"] == "third" and third["000.png"]["run_id"] == "first"
    other = replace(config, model=replace(config.model, seed=1))
    with pytest.raises(ConfigError, match=r"run.redo_changed=true"):
        run(other, "refused")
    redone = run(replace(other, run=RunConfig(redo_changed=True)), "fourth")
    assert {row["run_id"] for row in redone.values()} == {"fourth"}
    assert redone["000.png"]["output_sha256"] != first["000.png"]["output_sha256"]


def test_result_that_a_sample_no_longer_has_is_deleted(tmp_path, tiny_weights):
    photos, _ = make_photos(tmp_path, count=3)
    config = job(tmp_path, tiny_weights)
    run(config, "first")
    (photos / "000.png").write_bytes(b"broken now")
    as_webp = replace(config, sink=replace(config.sink, image_format="webp"), run=RunConfig(redo_changed=True))
    rows = run(as_webp, "second")
    assert rows["000.png"]["status"] == FAILED
    found = {str(path) for path in (tmp_path / "out" / "data").iterdir()}
    assert found == {row["output_uri"] for row in rows.values() if row["output_uri"]}
    assert len(found) == 2


@pytest.mark.parametrize(("before", "after"), [("source", "png"), ("png", "source")])
def test_result_that_takes_the_name_of_an_earlier_one_stays(tmp_path, tiny_weights, before, after):
    for folder in make_photos(tmp_path, count=1):
        shutil.copy(folder / "000.png", folder / "000.png.png")
    config = job(tmp_path, tiny_weights)
    run(replace(config, sink=replace(config.sink, image_format=before)), "first")
    other = replace(config, sink=replace(config.sink, image_format=after), run=RunConfig(redo_changed=True))
    for row in run(other, "second").values():
        assert hashlib.sha256(Path(row["output_uri"]).read_bytes()).hexdigest() == row["output_sha256"]


def test_results_on_the_disk_of_another_machine_stop_the_job(tmp_path, tiny_weights, monkeypatch):
    monkeypatch.setattr(pipeline.manifest.commit, "LATE_S", (0.1,))

    class Elsewhere(InpaintActor):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.sink.storage._backend.path = lambda key: f"{tmp_path}/elsewhere/{key}"

    make_photos(tmp_path, count=1)
    with pytest.raises(JobError, match=r"All nodes must share sink\.uri"):
        run(job(tmp_path, tiny_weights), executor=LocalExecutor(Elsewhere))
    assert not (tmp_path / "out" / "manifest").exists()


def test_names_that_cannot_be_read_are_failed_rows(tmp_path, tiny_weights):
    photos, masks = make_photos(tmp_path, count=2)
    for name in (b"caf\xe9", b"back\\slash"):
        shutil.copy(photos / "000.png", photos / os.fsdecode(name + b".png"))
        shutil.copy(masks / "000.png", masks / os.fsdecode(name + b".png"))
    rows = run(job(tmp_path, tiny_weights))
    assert sorted(rows) == ["000.png", "001.png", "back\\slash.png", "caf\\xe9.png"]
    for name in ("back\\slash.png", "caf\\xe9.png"):
        assert (rows[name]["status"], rows[name]["error_type"]) == (FAILED, "UnusableName")


def test_empty_mask_passes_a_photo_of_the_wanted_format_through(tmp_path, tiny_weights):
    photos, masks = make_photos(tmp_path, count=2)
    (photos / "000.png").unlink()
    Image.fromarray(textured(80, 96)).save(photos / "000.jpg", quality=60)
    for mask in masks.iterdir():
        Image.new("L", (96, 80)).save(mask)
    rows = run(replace(job(tmp_path, tiny_weights), sink=SinkConfig(uri=f"{tmp_path}/out", image_format="jpeg")))
    assert {row["status"] for row in rows.values()} == {UNCHANGED}
    assert Path(rows["000.jpg"]["output_uri"]).read_bytes() == (photos / "000.jpg").read_bytes()
    assert Image.open(rows["001.png"]["output_uri"]).format == "JPEG"


def test_static_mask_serves_all_images_of_its_size(tmp_path, tiny_weights):
    photos, masks = make_photos(tmp_path, count=3)
    Image.fromarray(textured(50, 50)).save(photos / "small.png")
    config = job(tmp_path, tiny_weights)
    rows = run(replace(config, mask=MaskConfig(kind="static", uri=str(masks / "000.png"))))
    assert [rows[name]["status"] for name in sorted(rows)] == [OK, OK, OK, FAILED]
    assert rows["small.png"]["error_type"] == "MaskSizeMismatch"
    assert rows["001.png"]["mask_uri"] == str(masks / "000.png") and rows["001.png"]["mask_kind"] == "static"


def test_model_that_makes_nothing_finite_ends_the_job_and_blames_no_sample(tmp_path, tiny_weights):
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(tiny_weights, broken)
    state = load_file(broken / "diffusion_pytorch_model.safetensors")
    state["diff_model.conv_norm_out.weight"][:] = float("nan")
    save_file(state, broken / "diffusion_pytorch_model.safetensors")
    make_photos(tmp_path, count=2)
    with pytest.raises(JobError, match=r"no worker can work.* FloatingPointError"):
        run(job(tmp_path, broken))
    assert not (tmp_path / "out" / "manifest").exists()
