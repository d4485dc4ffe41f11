"""Objects in tables: every layout and every container says the same."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_masks

from pipeline.codecs.photo import Photo
from pipeline.config.job import JobConfig, SinkConfig, SourceConfig
from pipeline.config.mask import MaskConfig
from pipeline.database import Database
from pipeline.errors import ConfigError, SampleError
from pipeline.masks.base import open_kind
from pipeline.masks.decode import draw_mask
from pipeline.planning.listing import find_samples
from pipeline.report.inspector import Inspector, config_of_run
from pipeline.storage.storage import Storage
from tests.conftest import make_photos
from tests.pipeline.flow_here import run_here

PHOTO = Photo(np.zeros((60, 80, 3), np.uint8), "RGB", "PNG")
FLAT = [
    {"sample_id": "a.png", "box": [10, 20, 30, 40], "score": 0.9, "label": "logo"},
    {"sample_id": "b.png", "box": [1, 2, 3, 4], "score": 0.3, "label": "logo"},
    {"sample_id": "a.png", "box": [50, 5, 60.5, 8], "score": 0.5, "label": "face"},
]


def specs(path: Path, **options) -> dict[str, dict]:
    """What is drawn, by the name of the image."""
    kind = open_kind(MaskConfig(kind="shapes", uri=str(path), **options))
    storage = Storage(kind.root_uri)
    kind.open(storage, storage)
    found = list(kind.annotations(storage))
    assert len(dict(found)) == len(found)  # each image once
    return {name: json.loads(spec) for name, spec in found}


def draw(*objects: dict, **options):
    spec = json.dumps([{"objects": objects, "score": None}])
    return draw_mask(spec.encode(), PHOTO, MaskConfig(kind="shapes", max_fraction=1.0, **options), 10**6)


def write(path: Path, rows: list[dict]) -> Path:
    """Write rows in the format that the name tells."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    if name.endswith(".csv"):
        cells = [
            {key: json.dumps(value) if isinstance(value, list | dict) else value for key, value in row.items()}
            for row in rows
        ]
        pyarrow.csv.write_csv(pa.Table.from_pylist(cells), path)
    else:
        text = json.dumps(rows) if name.endswith(".json") else "\n".join(map(json.dumps, rows))
        path.write_text(text)
    if path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    return path


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.csv.gz", "t.json", "t.jsonl", "t.ndjson.gz"])
def test_table_of_any_container_gives_each_image_its_own_objects(tmp_path, name):
    found = specs(write(tmp_path / name, FLAT))
    assert {key: (len(spec["objects"]), spec["score"]) for key, spec in found.items()} == {
        "a.png": (2, 0.9),
        "b.png": (1, 0.3),
    }
    mask = draw(*found["a.png"]["objects"])
    assert mask.objects == 2 and mask.pixels.sum() == 20 * 20 + 11 * 3
    assert mask.pixels[20:40, 10:30].all() and mask.pixels[5:8, 50:61].all()


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.json", "t.jsonl"])
def test_where_chooses_objects_and_leaves_their_images_named(tmp_path, name):
    found = specs(write(tmp_path / name, FLAT), where="score > 0.4 AND label IN ('logo')")
    assert [len(found[key]["objects"]) for key in ("a.png", "b.png")] == [1, 0]
    assert (found["a.png"]["score"], found["b.png"]["score"]) == (0.9, None)


BOXES = [[10, 20, 30, 40], [50, 5, 60, 8]]
LAYOUTS = {
    "structs": {"objects": [{"bbox": box, "score": 0.5} for box in BOXES]},
    "hugging face": {"objects": {"bbox": BOXES, "score": [0.5, 0.5], "category": [1, 2]}},
    "parallel lists": {"boxes": BOXES, "scores": [0.5, 0.5]},
    "lists of corners": dict(zip(("x1", "y1", "x2", "y2"), map(list, zip(*BOXES, strict=True)), strict=True)),
    "polygons": {
        "polygons": [[left, top, right, top, right, bottom, left, bottom] for left, top, right, bottom in BOXES]
    },
    "transformers": {
        "detections": [
            {"box": dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)), "label": "x"} for box in BOXES
        ]
    },
}


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl", "t.csv"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_row_per_image_in_any_layout_gives_the_same_objects(tmp_path, layout, name):
    if name == "t.csv" and layout in ("lists of corners", "parallel lists"):
        pytest.skip("cells of CSV are text, whose lists are only taken in one column")
    row = {"file_name": "a.png", **LAYOUTS[layout]}
    spec = specs(write(tmp_path / name, [row]))["a.png"]
    drawn = draw(*spec["objects"])
    expected = draw(*({"box": box} for box in BOXES)).pixels
    assert (drawn.pixels & expected).sum() == expected.sum()
    assert drawn.pixels.sum() <= expected.sum() * 1.3  # a polygon has a border
    assert len(spec["objects"]) == (1 if layout == "polygons" else 2)


@pytest.mark.parametrize(
    ("columns", "config"),
    [
        (("x1", "y1", "x2", "y2"), {}),
        (("x_min", "y_min", "x_max", "y_max"), {}),  # as supervision's sinks write
        (("a", "b", "c", "d"), {"columns": {"box": ["a", "b", "c", "d"]}}),
    ],
)
def test_four_columns_are_a_box(tmp_path, columns, config):
    path = write(tmp_path / "t.csv", [{"image": "007", **dict(zip(columns, [10, 20, 30, 40], strict=True))}])
    spec = specs(path, **config)["007"]  # the name stays text
    assert draw(*spec["objects"]).pixels.sum() == 400


def test_columns_of_another_box_format_are_refused_with_the_setting(tmp_path):
    path = write(tmp_path / "t.csv", [{"image": "a", "x": 1, "y": 2, "w": 3, "h": 4}])
    with pytest.raises(ConfigError, match=r"columns of mask\.box_format=xywh"):
        specs(path)
    assert draw(*specs(path, box_format="xywh")["a"]["objects"], box_format="xywh").pixels.sum() == 12


def test_centre_format_and_relative_units_give_the_same_box():
    expected = draw({"box": [10, 20, 30, 40]}).pixels
    assert np.array_equal(draw({"box": [20, 30, 20, 20]}, box_format="cxcywh").pixels, expected)
    relative = [20 / 80, 30 / 60, 20 / 80, 20 / 60]
    assert np.array_equal(draw({"box": relative}, box_format="cxcywh", box_units="relative").pixels, expected)


POLYGON = [[5.0, 5.0], [40.0, 8.0], [30.0, 50.0], [6.0, 40.0]]


@pytest.mark.parametrize(
    "value",
    [
        [part for point in POLYGON for part in point],
        POLYGON,
        [[part for point in POLYGON for part in point]],
        [POLYGON],
        [{"x": x, "y": y} for x, y in POLYGON],
        {"x": [x for x, _ in POLYGON], "y": [y for _, y in POLYGON]},
        json.dumps(POLYGON),
        ", ".join(str(part) for point in POLYGON for part in point),
    ],
)
def test_polygon_in_any_nesting_is_the_same_and_covers_what_coco_draws(value):
    drawn = draw({"polygon": value}).pixels
    flat = [part for point in POLYGON for part in point]
    assert np.array_equal(drawn, draw({"polygon": flat}).pixels)
    reference = coco_masks.decode(coco_masks.frPyObjects([flat], 60, 80))[..., 0].astype(bool)
    assert (reference & drawn).sum() >= 0.95 * (reference | drawn).sum()


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=50)
def test_run_lengths_of_any_mask_are_what_coco_decodes(seed):
    pixels = np.random.default_rng(seed).random((60, 80)) < 0.3
    encoded = coco_masks.encode(np.asfortranarray(pixels.astype(np.uint8)))
    counts = encoded["counts"].decode()
    for value in ({"counts": counts, "size": [60, 80]}, counts, json.dumps({"counts": counts, "size": [60, 80]})):
        assert np.array_equal(draw({"rle": value}).pixels, pixels)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-100, 100) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["x", "y", "counts", "size"]), inner),
    max_leaves=12,
)


@given(st.sampled_from(["box", "polygon", "rle"]), JSON, st.sampled_from(["pixel", "relative"]))
@settings(deadline=None, max_examples=200)
def test_shape_of_any_value_is_drawn_or_fails_its_sample(role, value, units):
    try:
        drawn = draw({role: value}, box_units=units)
    except SampleError as error:
        assert (error.stage, error.kind) == ("mask", "BadAnnotation")
    else:
        assert drawn.pixels.shape == (60, 80) and drawn.pixels.dtype == bool


@given(st.lists(JSON | st.fixed_dictionaries({"sample_id": st.text(max_size=3), "box": JSON}), max_size=6))
@settings(deadline=None, max_examples=20)
def test_json_lines_of_any_values_are_read_or_refused(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("any") / "t.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    try:
        found = specs(path)
    except ConfigError:
        return
    assert set(found) == {row["sample_id"] for row in rows if row.get("sample_id")}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"box": [1, 2, float("nan"), 4]}, "is not a coordinate"),
        ({"box": [100, 100, 110, 110]}, "is outside the picture"),
        ({"box": [5, 5, 5, 9]}, "none of 1 covers a pixel"),
        ({"polygon": [1, 2, 3, 4, 5]}, "an odd count"),
        ({"rle": {"counts": [1, 2], "size": [60, 80]}}, "do not fill"),
        ({"scores": [1, 2], "boxes": [[1, 2, 3, 4]]}, "lists of one row must be equally long"),
        ({"objects": "{"}, "objects is not JSON"),
        ({"polygon": json.loads("[" * 900 + "]" * 900)}, "cannot be drawn"),
    ],
)
def test_object_that_cannot_be_drawn_fails_its_own_sample(tmp_path, row, reason):
    good = {"sample_id": "good", "box": [1, 2, 3, 4]}
    good = {"sample_id": "good", "objects": [good]} if "objects" in row else good
    good = {"sample_id": "good", "boxes": [[1, 2, 3, 4]], "scores": [1]} if "boxes" in row else good
    found = specs(write(tmp_path / "t.jsonl", [good, {"sample_id": "bad", **row}]), where="true")
    assert draw(*found["good"]["objects"]).pixels.sum() == 4
    with pytest.raises(SampleError, match=reason):
        draw(*found["bad"]["objects"])


def test_run_lengths_and_polygons_go_before_boxes_and_rows_without_a_shape_name_their_image(tmp_path):
    rows = [
        {"sample_id": "a", "box": [0, 0, 80, 60], "segmentation": [[10, 10, 20, 10, 20, 20, 10, 20]]},
        {"sample_id": "b", "box": [0, 0, 8, 6], "segmentation": []},
        {"sample_id": "c", "box": None, "segmentation": None},
        {"sample_id": None, "box": [1, 1, 2, 2], "segmentation": None},
    ]
    path = write(tmp_path / "t.jsonl", rows)
    found = specs(path)
    assert [list(one) for name in "ab" for one in found[name]["objects"]] == [["polygon"], ["box"]]
    assert found["c"]["objects"] == [] and set(found) == set("abc")


def test_order_of_rows_and_files_does_not_change_what_a_sample_has(tmp_path):
    for name, parts in (("one", [FLAT]), ("two", [FLAT[2:], FLAT[:2][::-1]])):
        (tmp_path / name).mkdir()
        for number, rows in enumerate(parts):
            write(tmp_path / name / f"{number}.parquet", rows)
    (tmp_path / "two" / "_SUCCESS").write_text("")
    assert specs(tmp_path / "one") == specs(tmp_path / "two") == specs(tmp_path / "two" / "*.parquet")


@pytest.mark.parametrize(
    ("rows", "options", "reason"),
    [
        ([{"box": [1, 2, 3, 4]}], {}, "no column with the name of the image"),
        ([{"sample_id": "a", "size": 3}], {}, "has no column box, polygon or rle"),
        (
            [{"sample_id": "a", "box": [1, 2, 3, 4]}],
            {"columns": {"box": "bx"}},
            "has no column bx; it has sample_id, box",
        ),
        ([{"sample_id": "a", "box": 1, "bbox": 1}], {}, r"has the columns box and bbox: .* mask\.columns\.box"),
        ([{"sample_id": [1], "box": [1, 2, 3, 4]}], {}, "must hold names of images"),
        ([{"sample_id": "a", "box": [1, 2, 3, 4]}], {"where": "score > 1"}, "Referenced column"),
    ],
)
def test_table_that_does_not_fit_is_refused_before_anything_is_listed(tmp_path, rows, options, reason):
    path = write(tmp_path / "t.jsonl", rows)
    kind = open_kind(MaskConfig(kind="shapes", uri=str(path), **options))
    with pytest.raises(ConfigError, match=reason):
        kind.open(Storage(str(path)), Storage(str(tmp_path)))


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.json", "t.jsonl", "t.jsonl.gz"])
def test_damaged_table_is_a_configuration_error_that_names_it(tmp_path, name):
    (tmp_path / name).write_bytes(b'\x1f\x8b{"sample_id": "a", \xff\n"')
    with pytest.raises(ConfigError, match=name):
        specs(tmp_path / name)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"columns": {"boxes": "b"}}, r"mask\.columns: a key must be one of sample, box"),
        ({"columns": {"sample": ["a"]}}, r"mask\.columns\.sample must be the name of a column"),
        ({"columns": {"box": ["a", "b"]}}, r"or of four columns"),
        ({"where": " "}, r"mask\.where must be an SQL expression"),
        ({"categories": ["logo"]}, r"choose by mask\.where"),
        ({"kind": "boxes", "where": "score > 1"}, r"mask\.where has no meaning for mask\.kind=boxes"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options, reason):
    with pytest.raises(ConfigError, match=reason):
        JobConfig(mask=MaskConfig(**{"kind": "shapes", **options}))


@pytest.mark.parametrize("name", ["found.csv", "found.json"])
def test_tables_of_supervision_are_read_as_they_are(tmp_path, name):
    supervision = pytest.importorskip("supervision")
    found = supervision.Detections(
        xyxy=np.array([[10, 20, 30, 40.0], [1, 2, 3, 4]]),
        confidence=np.array([0.9, 0.3]),
        class_id=np.array([0, 1]),
        data={"class_name": np.array(["logo", "face"])},
    )
    sink = supervision.CSVSink if name.endswith("csv") else supervision.JSONSink
    with sink(str(tmp_path / name)) as file:
        file.append(found, custom_data={"file_name": "a.jpg"})
    spec = specs(tmp_path / name, where="class_name = 'logo' AND confidence > 0.4")["a.jpg"]
    assert spec["score"] == 0.9 and draw(*spec["objects"]).pixels.sum() == 400


def test_tables_of_any_storage_are_found_by_folder_and_glob(tmp_path):
    data = write(tmp_path / "t.parquet", FLAT).read_bytes()
    memory = Storage("memory://detections")
    for key in ("a/1.parquet", "a/2.csv", "a/.hidden.parquet"):
        memory.write(key, data)
    memory.write("a/2.csv", b"sample_id,x1,y1,x2,y2\nc.png,1,2,3,4\n")
    for uri, names in (("a", {"a.png", "b.png", "c.png"}), ("a/*.parquet", {"a.png", "b.png"}), ("a/2.csv", {"c.png"})):
        kind = open_kind(MaskConfig(kind="shapes", uri=f"memory://detections/{uri}"))
        assert {name for name, _ in kind.annotations(Storage(kind.root_uri))} == names


def test_samples_carry_their_own_objects_and_change_only_with_them(tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / "photos" / name).write_bytes(b"image")

    def planned(rows: list[dict], **options) -> dict[str, tuple]:
        path = write(tmp_path / "t.parquet", rows)
        config = JobConfig(
            SourceConfig(uri=str(tmp_path / "photos")), MaskConfig(kind="shapes", uri=str(path), **options)
        )
        with Database() as database:
            left_out = find_samples(config, database)
            rows = database.run("SELECT sample_id, mask_spec, input_version FROM samples")
        return {"left out": left_out, "fingerprint": config.fingerprint, **{row[0]: row[1:] for row in rows}}

    before = planned(FLAT)
    assert len(json.loads(before["a.png"][0])[0]["objects"]) == 2 and before["c.png"][0] is None
    assert planned(FLAT[::-1]) == before
    chosen = planned(FLAT, where="label = 'logo'")
    assert chosen["a.png"] != before["a.png"] and chosen["b.png"] == before["b.png"]
    assert chosen["left out"] == {"objects that mask.where leaves out": 1}
    assert chosen["fingerprint"] == before["fingerprint"]  # versions tell what is to be done again
    more = planned([*FLAT, {**FLAT[0], "sample_id": "elsewhere.png"}, {**FLAT[0], "sample_id": None}])
    assert more["left out"] == {"names without an image": 1, "rows without a name": 1}
    with pytest.raises(ConfigError, match="annotates none of the images"):
        planned([{**FLAT[0], "sample_id": "x.png"}])
    none = planned([{**FLAT[0], "sample_id": "x.png"}, FLAT[1]], missing="empty")
    assert none["c.png"][1].endswith(" mask:none") and none["a.png"][1].endswith(" mask:none")


def test_whole_job_fills_objects_and_its_report_reads_them_again(here, tmp_path):
    photos, _ = make_photos(tmp_path, count=3)
    rows = [
        {"file_name": "000.png", "box": [30, 20, 60, 40], "score": 0.9},
        {"file_name": "001.png", "box": [0, 0, 90, 70], "score": 0.2},
    ]
    path = write(tmp_path / "found.parquet", rows)
    mask = MaskConfig(kind="shapes", uri=str(path), where="score > 0.4", missing="empty", columns={"score": "score"})
    config = JobConfig(SourceConfig(uri=str(photos)), mask, sink=SinkConfig(uri=str(tmp_path / "out")))
    run_here(config, "run")
    found = {row["sample_id"]: row for row in pq.read_table(tmp_path / "out" / "manifest").to_pylist()}
    assert [found[name]["status"] for name in sorted(found)] == ["ok", "unchanged", "unchanged"]
    assert [found[name]["mask_objects"] for name in sorted(found)] == [1, 0, 0]
    assert [found[name]["mask_score"] for name in sorted(found)] == [0.9, None, None]
    assert [found[name]["mask_uri"] for name in sorted(found)] == [str(path), str(path), None]
    inspector = Inspector(config_of_run(Storage(config.sink.uri), "run", {}), list(found))
    assert json.loads(inspector.inputs(found["000.png"]).mask)[0]["score"] == 0.9
    assert inspector.inputs(found["002.png"]).mask == ()
    write(path, [{**rows[0], "box": [1, 2, 3, 4]}])
    with pytest.raises(SampleError, match="has changed for this sample"):
        Inspector(config_of_run(Storage(config.sink.uri), "run", {}), list(found)).inputs(found["000.png"])
