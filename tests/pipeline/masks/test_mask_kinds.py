"""One hole, told in every way there is: the same pixels come out."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw, ImageFont

from pipeline.config.job import MaskConfig, SinkConfig
from pipeline.executor.local import LocalExecutor
from pipeline.records import FAILED, OK, UNCHANGED
from tests.conftest import make_photos
from tests.pipeline.scenarios.test_run import job, pixels
from tests.pipeline.scenarios.test_run import run as run_on

pytestmark = pytest.mark.usefixtures("model_here")
run = partial(run_on, executor=LocalExecutor())
TOP, LEFT, BOTTOM, RIGHT = 20, 30, 40, 60  # of the hole that make_photos draws
HEIGHT, WIDTH = 80, 96
RUNS = [LEFT * HEIGHT + TOP, *[BOTTOM - TOP, HEIGHT - BOTTOM + TOP] * (RIGHT - LEFT - 1), BOTTOM - TOP]
# The hole in a label file of each format, with the extension of its name.
LABELS = {
    "yolo": (".txt", f"0 {45 / WIDTH} {30 / HEIGHT} {30 / WIDTH} {20 / HEIGHT} 0.9\n"),
    "labelme": (
        ".json",
        json.dumps({"shapes": [{"label": "a", "points": [[LEFT, TOP], [RIGHT, BOTTOM]], "shape_type": "rectangle"}]}),
    ),
    "voc": (
        ".xml",
        "<annotation><object><name>a</name><bndbox><xmin>31</xmin><ymin>21</ymin><xmax>60</xmax><ymax>40</ymax></bndbox>"
        "</object></annotation>",
    ),
    "sa1b": (
        ".json",
        json.dumps(
            {
                "image": {"height": HEIGHT, "width": WIDTH},
                "annotations": [
                    {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [*RUNS, HEIGHT * WIDTH - sum(RUNS)]}}
                ],
            }
        ),
    ),
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory, tiny_weights, model_here):
    folder = tmp_path_factory.mktemp("kinds")
    make_photos(folder, count=3)
    config = job(folder, tiny_weights)
    return folder, config, run(config)


def masks(folder: Path, kind: str) -> MaskConfig:
    file = folder / f"{kind}.json"
    box = [LEFT, TOP, RIGHT - LEFT, BOTTOM - TOP]
    names = [f"{index:03}.png" for index in range(3)]
    if kind == "static":
        return MaskConfig(kind="static", uri=str(folder / "masks" / "000.png"))
    if kind == "boxes":
        file.write_text("".join(json.dumps({"sample_id": name, "boxes": [box]}) + "\n" for name in names))
        return MaskConfig(kind="boxes", uri=str(file), box_format="xywh")
    if kind == "shapes":
        corners = {"x1": LEFT, "y1": TOP, "x2": RIGHT, "y2": BOTTOM, "score": 0.9}
        rows = [{"file_name": name, **corners} for name in names]
        decoy = {"file_name": names[0], **corners, "x1": 0, "score": 0.1}
        pq.write_table(pa.Table.from_pylist([*rows, decoy]), folder / "shapes.parquet")
        return MaskConfig(kind="shapes", uri=str(folder / "shapes.parquet"), where="score > 0.4")
    if kind in LABELS:
        (folder / f"{kind}-labels").mkdir()
        for name in names:
            (folder / f"{kind}-labels" / name.replace(".png", LABELS[kind][0])).write_text(LABELS[kind][1])
        return MaskConfig(kind="labels", uri=str(folder / f"{kind}-labels"), labels=kind)
    annotations = [{"image_id": index, "category_id": 1, "bbox": box} for index in range(3)]
    images = [{"id": index, "file_name": name, "height": 80, "width": 96} for index, name in enumerate(names)]
    file.write_text(json.dumps({"images": images, "annotations": annotations}))
    return MaskConfig(kind="coco", uri=str(file))


@pytest.mark.parametrize("kind", ["static", "boxes", "coco", "shapes", *LABELS])
def test_same_hole_in_other_words_gives_the_same_pixels(photos, kind):
    folder, config, paired = photos
    told = replace(config, mask=masks(folder, kind), sink=SinkConfig(uri=str(folder / kind)))
    rows = run(told)
    assert rows.keys() == paired.keys()
    for name, row in rows.items():
        assert (row["status"], row["mask_kind"]) == (OK, told.mask.kind)
        assert row["mask_uri"].startswith(told.mask.uri)
        assert row["mask_objects"] == (None if kind == "static" else 1)
        assert row["mask_score"] == (0.9 if kind in ("shapes", "yolo") else None)
        assert row["output_sha256"] == paired[name]["output_sha256"]
    assert run(told, "again") == rows


def test_alpha_repaints_what_is_transparent_and_makes_it_opaque(photos, tmp_path):
    folder, config, paired = photos
    (tmp_path / "photos").mkdir()
    for path in (folder / "photos").iterdir():
        rgba = np.dstack([pixels(path), np.full((80, 96), 255, np.uint8)])
        rgba[TOP:BOTTOM, LEFT:RIGHT, 3] = 0
        rgba[0, 0, 3] = 180  # a little transparent
        Image.fromarray(rgba).save(tmp_path / "photos" / path.name)
    rows = run(replace(job(tmp_path, Path(config.model.weights)), mask=MaskConfig(kind="alpha")))
    for name, row in rows.items():
        assert (row["status"], row["mask_uri"]) == (OK, None)
        result = pixels(row["output_uri"])
        assert np.array_equal(result[..., :3], pixels(paired[name]["output_uri"]))
        assert result[0, 0, 3] == 180 and (result[..., 3] == 255).sum() == 80 * 96 - 1


def test_what_an_annotation_file_does_not_name_has_no_mask(photos, tmp_path):
    config = photos[1]
    file = tmp_path / "boxes.jsonl"
    file.write_text('{"sample_id": "000.png", "boxes": []}\n{"sample_id": "001.png", "boxes": [[9, 9, 1, 1]]}\n')
    rows = run(
        replace(config, mask=MaskConfig(kind="boxes", uri=str(file)), sink=SinkConfig(uri=str(tmp_path / "out")))
    )
    found = {name: (row["status"], row["error_type"]) for name, row in rows.items()}
    assert found == {
        "000.png": (UNCHANGED, None),
        "001.png": (FAILED, "BadAnnotation"),
        "002.png": (FAILED, "MissingMask"),
    }
    # Boxes that are drawn anew make the sample a changed one.
    file.write_text('{"sample_id": "000.png", "boxes": [[30, 20, 60, 40]]}\n')
    rows = run(
        replace(config, mask=MaskConfig(kind="boxes", uri=str(file)), sink=SinkConfig(uri=str(tmp_path / "out")))
    )
    assert rows["000.png"]["status"] == OK


def test_text_is_found_in_the_pixels_and_what_has_none_passes_through(tmp_path, tiny_weights):
    pytest.importorskip("rapidocr")
    (tmp_path / "photos").mkdir()
    plain = Image.new("RGB", (320, 200), (90, 120, 160))
    plain.save(tmp_path / "photos" / "plain.png")
    ImageDraw.Draw(plain).text((40, 80), "SAMPLE TEXT", font=ImageFont.load_default(30), fill="white")
    plain.save(tmp_path / "photos" / "written.png")
    rows = run(replace(job(tmp_path, tiny_weights), mask=MaskConfig(kind="text")))
    assert {name: (row["status"], row["mask_uri"]) for name, row in rows.items()} == {
        "plain.png": (UNCHANGED, None),
        "written.png": (OK, None),
    }
    assert [rows[name]["mask_objects"] for name in ("plain.png", "written.png")] == [0, 1]
    assert rows["written.png"]["outside_max_diff"] == 0 and 0.02 < rows["written.png"]["mask_fraction"] < 0.4


def test_known_mark_is_computed_in_a_whole_job_and_photos_without_it_are_told(photos, tmp_path):
    folder, config, _ = photos
    layer = np.zeros((20, 30, 4), np.uint8)
    layer[..., 3] = 127
    layer[8:12, 8:22] = (255, 255, 255, 255)
    layer[:4, :, :3] = 255
    Image.fromarray(layer).save(tmp_path / "logo.png")
    (tmp_path / "photos").mkdir()
    truths = {path.name: pixels(path) // 2 + 60 for path in (folder / "photos").iterdir()}
    for name, truth in truths.items():
        Image.fromarray(truth).save(tmp_path / "photos" / f"bare_{name}")
        photo = Image.fromarray(truth)
        photo.paste(Image.fromarray(layer), (40, 30), Image.fromarray(layer))
        photo.save(tmp_path / "photos" / f"filled_{name}")
    mask = MaskConfig(kind="mark", uri=str(tmp_path / "logo.png"), offset=[40, 30])
    rows = run(replace(job(tmp_path, Path(config.model.weights)), mask=mask))
    assert len(rows) == 6
    for name, row in rows.items():
        if name.startswith("bare"):
            assert (row["status"], row["error_type"], row["mask_computed"]) == (FAILED, "MarkNotFound", None)
            continue
        assert (row["status"], row["mask_objects"], row["mask_place"]) == (OK, 1, "40,30 30x20")
        assert row["mask_fraction"] == 56 / (80 * 96) and row["mask_computed"] == (600 - 56) / (80 * 96)
        assert row["window_count"] == 1 and row["outside_max_diff"] == 0
        result, truth = pixels(row["output_uri"]).astype(int), truths[name.removeprefix("filled_")]
        filled = np.zeros((80, 96), bool)
        filled[38:42, 48:62] = True
        assert np.abs(result - truth)[~filled].max() <= 2
    mask = replace(mask, missing="empty", max_opacity=1.0)
    layer[8:12, 8:22, 3] = 127
    Image.fromarray(layer).save(tmp_path / "logo.png")
    photo = Image.fromarray(truths["000.png"])
    photo.paste(Image.fromarray(layer), (40, 30), Image.fromarray(layer))
    photo.save(tmp_path / "photos" / "only_computed.png")
    rows = run(
        replace(job(tmp_path / "again", Path(config.model.weights)), source=job(tmp_path, Path()).source, mask=mask)
    )
    row = rows["only_computed.png"]
    assert (row["status"], row["window_count"], row["mask_fraction"], row["outside_max_diff"]) == (OK, 0, 0, 0)
    assert np.abs(pixels(row["output_uri"]).astype(int) - truths["000.png"]).max() <= 2
    assert {(row["status"], row["mask_objects"]) for name, row in rows.items() if name.startswith("bare")} == {
        (UNCHANGED, 0)
    }
