import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import ConfigError
from pipeline.review.brush_rle import decode_rle, encode_rle
from pipeline.review.draw import draw_sample
from pipeline.review.hand_out import hand_out
from pipeline.review.take_back import take_back
from pipeline.storage.storage import Storage
from pipeline.verdicts.files import find_keys
from tests.pipeline.review.conftest import LARGE, NAMES
from tests.pipeline.review.test_take_back import reviews_of

AT = "2026-01-02T03:04:05.678901Z"


@pytest.fixture(scope="module")
def folder(reviewed_job, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "review"
    sink = Storage(reviewed_job.sink.uri)
    hand_out(sink, {}, draw_sample(sink, None, None, 100, 0), "labelstudio", folder)
    return folder


@pytest.fixture
def sink(reviewed_job, tmp_path) -> Storage:
    """A copy of the sink, without reviews."""
    copy = Storage(str(tmp_path / "out"))
    for file in Storage(reviewed_job.sink.uri).list_files("manifest"):
        copy.write(file.key, Path(reviewed_job.sink.uri, file.key).read_bytes())
    return copy


def choice(verdict: str) -> dict:
    return {"from_name": "verdict", "to_name": "after", "type": "choices", "value": {"choices": [verdict]}}


def annotated(task: dict, *results: dict, **fields) -> dict:
    """A task as Label Studio exports it, whose annotation began with the predicted regions."""
    person = {"id": 1, "email": "ada@example.com"}
    annotation = {"id": 5, "completed_by": person, "was_cancelled": False, "updated_at": AT, "result": list(results)}
    return {"id": 1, "data": task["data"], "annotations": [{**annotation, **fields}], "predictions": []}


def exported(folder: Path, tmp_path: Path, changes) -> Path:
    path = tmp_path / "project-1.json"
    tasks = {task["data"]["sample_id"]: task for task in json.loads((folder / "tasks.json").read_text())}
    path.write_text(json.dumps(changes(tasks)))
    return path


def test_tasks_name_pictures_of_the_stored_size_and_regions_that_are_their_masks(folder, reviewed_job):
    tasks = json.loads((folder / "tasks.json").read_text())
    assert sorted(task["data"]["sample_id"] for task in tasks) == sorted([*NAMES, "004.png", LARGE])
    for task in tasks:
        (region,) = task["predictions"][0]["result"]
        width, height = region["original_width"], region["original_height"]
        for name in ("before", "after"):
            prefix, _, file = task["data"][name].partition("=review/")
            assert prefix == "/data/local-files/?d"
            with Image.open(folder / file) as picture:
                assert picture.size == (width, height) and not picture.getexif()
        stored = Path(reviewed_job.mask.uri, task["data"]["sample_id"]).with_suffix(".png")
        hole = decode_rle(region["value"]["rle"], width, height)
        assert np.array_equal(hole, np.asarray(Image.open(stored)) > 0)


def test_configuration_has_the_names_that_tasks_and_regions_use(folder):
    tree, tasks = ElementTree.parse(folder / "labels.xml"), json.loads((folder / "tasks.json").read_text())
    used = {value[1:] for element in tree.iter() for value in element.attrib.values() if value.startswith("$")}
    assert used <= tasks[0]["data"].keys()
    region = tasks[0]["predictions"][0]["result"][0]
    controls = {element.get("name"): element for element in tree.iter() if element.get("toName")}
    assert controls[region["from_name"]].get("toName") == region["to_name"]
    labels = [label.get("value") for label in controls[region["from_name"]]]
    assert labels == region["value"]["brushlabels"]
    assert [found.get("value") for found in controls["verdict"]] == ["good", "bad", "unsure"]
    assert {element.get("toName") for element in controls.values()} <= {
        found.get("name") for found in tree.iter("Image")
    }


def test_verdicts_come_back_and_only_changed_masks_are_corrected_ones(folder, sink, tmp_path):
    def changes(tasks):
        same, drawn = tasks["004.png"], tasks[LARGE]
        region = drawn["predictions"][0]["result"][0]
        mask = np.zeros((1600, 2400), bool)
        mask[500:600, 700:900] = True
        part, rest = mask.copy(), mask.copy()
        part[:, :750], rest[:, 750:] = False, False  # two strokes of a brush
        strokes = [{**region, "value": {**region["value"], "rle": encode_rle(stroke)}} for stroke in (part, rest)]
        note = {"from_name": "note", "type": "textarea", "value": {"text": ["larger"]}}
        skipped = annotated(tasks[NAMES[0]], choice("bad"), was_cancelled=True)
        untouched = {**tasks[NAMES[1]], "id": 9, "annotations": []}
        return [
            annotated(same, *same["predictions"][0]["result"], choice("good")),
            annotated(drawn, *strokes, choice("bad"), note),
            skipped,
            untouched,
        ]

    taken = take_back(sink, exported(folder, tmp_path, changes))
    assert taken.verdicts == {"good": 1, "bad": 1} and taken.corrected_masks == 1
    assert taken.left_out == {"skipped annotations": 1, "tasks without an annotation": 2}
    good, bad = reviews_of(sink)
    assert (good["sample_id"], good["corrected_sha256"]) == ("004.png", None)
    assert (bad["note"], bad["reviewer"], bad["population_rows"]) == ("larger", "ada@example.com", 6)
    assert bad["corrected_sha256"] and bad["reviewed_at"] == pytest.approx(1767323045.678901)


def test_latest_of_several_annotations_counts(folder, sink, tmp_path):
    def changes(tasks):
        task = annotated(tasks["004.png"], choice("good"))
        earlier = annotated(tasks["004.png"], choice("bad"), updated_at="2026-01-01T00:00:00Z")
        task["annotations"] += earlier["annotations"]
        return [task]

    taken = take_back(sink, exported(folder, tmp_path, changes))
    assert taken.verdicts == {"good": 1} and "replaced by a later answer about the same sample" in taken.left_out


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"rle": [0, 0]}, "task 1 cannot be read: ValueError"),
        ({"rle": [300]}, "task 1 cannot be read"),
        ({}, "task 1 cannot be read: KeyError"),
    ],
)
def test_damaged_region_is_refused(folder, sink, tmp_path, value, message):
    def changes(tasks):
        region = tasks["004.png"]["predictions"][0]["result"][0]
        return [annotated(tasks["004.png"], {**region, "value": value})]

    with pytest.raises(ConfigError, match=message):
        take_back(sink, exported(folder, tmp_path, changes))
    assert find_keys(sink) == []
