"""Jobs whose masks a detector finds: their rows, their second runs, and the model's file on other machines."""

import io
import json
import re
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import pipeline.cluster.connection.connect
from jobs.contact_sheet import main as contact_sheet
from jobs.pictures.sheet import HOLE_COLOUR
from jobs.plan import main as plan
from jobs.preview import main as preview
from moebius.weights import find_weights
from pipeline.cluster.resources.node_weights import with_fetchable_weights
from pipeline.config.job import JobConfig, MaskConfig, ModelConfig, RunConfig, SinkConfig, SourceConfig
from pipeline.config.verify import VerifyConfig
from pipeline.errors import ConfigError
from pipeline.masks.base import open_kind, pinned
from pipeline.report.publish import make_report
from pipeline.storage.storage import Storage
from tests.conftest import ROOT, run_cli, textured
from tests.pipeline.detection.onnx_models import RED, fixed, red_box, red_heatmap
from tests.pipeline.flow_here import run_here

COUNT = 4
PLACE = slice(20, 40), slice(30, 60)
FUNCTION = """
def find(image):
    if image[0, 0, 0] > 250:
        raise RuntimeError("too light")
    return (image[..., 0] > 240) & (image[..., 1] < 10)
"""


def write_photos(folder):
    """Photos of which all but the first have a red rectangle."""
    folder.mkdir(parents=True)
    for index in range(COUNT):
        rgb = textured(80, 96, index) // 3
        if index:
            rgb[PLACE] = RED
        Image.fromarray(rgb).save(folder / f"{index:03}.png")


@pytest.fixture
def photos(tmp_path):
    write_photos(tmp_path / "photos")
    return tmp_path / "photos"


def job(photos, weights, **mask):
    return JobConfig(
        SourceConfig(uri=str(photos)),
        MaskConfig(**{"kind": "detect", **mask}),
        model=ModelConfig(weights=str(weights)),
        sink=SinkConfig(str(photos.parent / "out")),
    )


def rows_of(sink):
    tables = [pq.read_table(io.BytesIO(sink.read(file.key))) for file in sink.list_files("manifest")]
    return {row["sample_id"]: row for row in pa.concat_tables(tables).to_pylist()}


def counts(summary):
    """How many samples there are of each status, and how many of them were done now."""
    return {name: count for name, count in summary.samples.items() if count and name != "found"}


def test_job_fills_what_is_found_and_its_rows_count_it(photos, tiny_weights, here):
    model = red_box(photos.parent / "red.onnx", shape=(1, 3, 80, 96))
    config = job(photos, tiny_weights, model=str(model))
    assert counts(run_here(config)) == {"done_now": COUNT, "ok": COUNT - 1, "unchanged": 1}
    rows = rows_of(Storage(config.sink.uri))
    assert [rows[name]["mask_objects"] for name in sorted(rows)] == [0, 1, 1, 1]
    assert rows["000.png"]["mask_score"] is None and rows["001.png"]["mask_score"] > 0.9
    result = np.asarray(Image.open(f"{config.sink.uri}/data/001.png"))
    assert np.array_equal(result[PLACE], 255 - np.array(RED) + np.zeros((20, 30, 1), int))  # as the stand-in fills it
    (run,) = (json.loads(path.read_text()) for path in (photos.parent / "out" / "runs").iterdir())
    assert len(run["configuration"]["mask"]["model_sha256"]) == 1

    moved = model.rename(photos.parent / "moved.onnx")
    assert run_here(job(photos, tiny_weights, model=str(moved)), "second").samples["done_now"] == 0
    with pytest.raises(ConfigError, match=r"made with other settings: mask\.model_sha256"):
        run_here(job(photos, tiny_weights, model=str(red_heatmap(photos.parent / "other.onnx"))), "third")


def test_job_with_a_function_fills_what_it_returns_and_fails_what_it_cannot_judge(
    photos, tiny_weights, here, monkeypatch
):
    (photos.parent / "users_red.py").write_text(FUNCTION)
    monkeypatch.syspath_prepend(str(photos.parent))
    light = textured(80, 96, 9)
    light[0, 0] = 255
    Image.fromarray(light).save(photos / "light.png")
    config = job(photos, tiny_weights, kind="python", function="users_red:find")
    assert counts(run_here(config)) == {"done_now": COUNT + 1, "ok": COUNT - 1, "unchanged": 1, "failed": 1}
    row = rows_of(Storage(config.sink.uri))["light.png"]
    assert (row["error_stage"], row["error_type"]) == ("mask", "BadMaskFunction")
    assert row["error_message"] == "users_red:find raised RuntimeError: too light"
    sys.modules.pop("users_red")

    # What shows a sink calls no function that the sink names.
    (photos.parent / "users_red.py").write_text("raise SystemExit('called')")
    html = make_report(Storage(config.sink.uri), {}).decode()
    assert 'class="before"' in html and 'class="hole"' not in html and "which is not called here" in html
    assert contact_sheet([config.sink.uri, str(photos.parent / "sheet.png")]) == 0


def test_pictures_show_what_is_found_again_or_say_why_not(photos, tiny_weights, here, capsys):
    model = red_heatmap(photos.parent / "red.onnx", metadata={"unique": str(photos)})
    config = job(photos, tiny_weights, model=str(model))
    run_here(config)
    sink = Storage(config.sink.uri)
    assert 'class="hole"' in make_report(sink, {}).decode()
    model.unlink()
    pipeline.detection.detector._opened.cache_clear()
    html = make_report(sink, {}).decode()
    assert 'class="before"' in html and 'class="hole"' not in html
    assert re.search(r"mask\.model: cannot read [^<]*red\.onnx", html)
    assert contact_sheet([config.sink.uri, str(photos.parent / "sheet.png")]) == 0


def test_plan_and_preview_find_the_model_and_refuse_a_bad_one_with_exit_code_2(photos, tmp_path, capsys):
    base = [str(ROOT / "conf" / "inpaint.yaml")]
    keys = [f"source.uri={photos}", f"sink.uri={tmp_path / 'out'}", "mask.kind=detect"]
    good = f"mask.model={red_heatmap(tmp_path / 'red.onnx')}"
    assert plan([*base, *keys, good]) == 0
    assert f"samples found:  {COUNT}" in capsys.readouterr().out
    picture = tmp_path / "preview.png"
    assert preview([*base, str(picture), *keys, good, "--columns", "1"]) == 0
    assert (np.asarray(Image.open(picture)) == HOLE_COLOUR).all(axis=2).sum() > 500
    bad = f"mask.model={fixed(tmp_path / 'bad.onnx', {'out': np.zeros((1, 5), np.float32)})}"
    capsys.readouterr()
    for command in (plan([*base, *keys, bad]), preview([*base, str(picture), *keys, bad])):
        assert command == 2
    assert capsys.readouterr().err.count("set mask.output to one of") == 2
    assert not (tmp_path / "out").exists()


def test_model_in_a_bucket_is_fetched_once_and_known_by_its_content(tmp_path, s3_server, monkeypatch):
    monkeypatch.setenv("MOEBIUS_HOME", str(tmp_path / "home"))
    root = f"s3://bucket/{tmp_path.name}"
    path = red_heatmap(tmp_path / "red.onnx")
    Storage(root, s3_server).upload("red.onnx", str(path))
    remote = MaskConfig(kind="detect", model=f"{root}/red.onnx")
    local = MaskConfig(kind="detect", model=str(path))
    found = pinned(JobConfig(mask=remote, storage=s3_server)).mask
    assert found.model_sha256 == pinned(JobConfig(mask=local)).mask.model_sha256
    assert found.model == [f"{root}/red.onnx"]
    (copy,) = (tmp_path / "home").rglob("red.onnx")
    before = copy.stat().st_mtime_ns
    assert open_kind(remote).fetch(s3_server).model == [str(copy)] and copy.stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match=r"mask\.model: no file at s3://"):
        pinned(JobConfig(mask=replace(remote, model=f"{root}/other.onnx"), storage=s3_server))


@pytest.mark.parametrize(
    ("place", "address", "is_copied"),
    [("local", "127.0.0.1:6379", True), ("local", None, False), ("s3", "127.0.0.1:6379", False)],
)
def test_model_is_copied_only_where_a_node_may_lack_it(
    tmp_path, s3_server, tiny_weights, monkeypatch, place, address, is_copied
):
    monkeypatch.setenv("MOEBIUS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(pipeline.cluster.connection.connect.ray, "is_initialized", lambda: False)  # whatever ran before
    root = f"s3://bucket/{tmp_path.name}"
    path = red_heatmap(tmp_path / "red.onnx")
    Storage(root, s3_server).upload("red.onnx", str(path))
    uri = str(path) if place == "local" else f"{root}/red.onnx"
    config = pinned(
        JobConfig(
            SourceConfig(uri=str(tmp_path)),
            MaskConfig(kind="detect", model=uri),
            sink=SinkConfig(f"{root}/sink"),
            run=RunConfig(address=address),
            verify=VerifyConfig({"model": uri, "score": 0.3}),
            storage=s3_server,
        )
    )
    sink = Storage(f"{root}/sink", s3_server)
    node_job = with_fetchable_weights(config, find_weights(str(tiny_weights)), sink)
    assert node_job.fingerprint == config.fingerprint
    stored = [file.key for file in sink.list_files("weights")]
    if is_copied:
        path.unlink()
        assert stored == [f"weights/{config.mask.model_sha256[0][:16]}/red.onnx"]
        assert node_job.mask.model == node_job.verifying_detector.model == [sink.uri(stored[0])]
        assert open_kind(node_job.mask).fetch(s3_server).model_sha256 == config.mask.model_sha256
        assert with_fetchable_weights(node_job, find_weights(str(tiny_weights)), sink) == node_job
    else:
        assert stored == [] and node_job == config


@pytest.mark.slow
def test_workers_of_a_cluster_find_with_the_model_and_with_a_function(photos, tiny_weights, tmp_path):
    """The real command, with Ray; its parts are tested above, and the worker in ``tests/pipeline/worker``."""
    model = red_box(tmp_path / "red.onnx", shape=(1, 3, 80, 96))
    (tmp_path / "users_red.py").write_text(FUNCTION)
    found = {}
    for kind, key in (("detect", f"mask.model={model}"), ("python", "mask.function=users_red:find")):
        sink = tmp_path / kind
        settings = [f"source.uri={photos}", f"sink.uri={sink}", f"model.weights={tiny_weights}", "model.steps=2"]
        arguments = ["inpaint", ROOT / "conf" / "inpaint.yaml", *settings, f"mask.kind={kind}", key, "run.actors=1"]
        done = run_cli(*arguments, env={"PYTHONPATH": f"{ROOT}:{tmp_path}"})
        assert done.returncode == 0, done.stderr
        found[kind] = {name: row["output_sha256"] for name, row in rows_of(Storage(str(sink))).items()}
    assert found["detect"] == found["python"] and len(found["detect"]) == COUNT
