import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.database import Database
from pipeline.errors import ConfigError
from pipeline.manifest.log import Manifest
from pipeline.manifest.tombstones import note_forgotten
from pipeline.records import OK, Record, to_table
from pipeline.review.summary import describe_rounds
from pipeline.review.take_back import take_back
from pipeline.review.verdicts_csv import MASK_COLUMN, encode_csv, read_csv
from pipeline.storage.storage import Storage
from pipeline.verdicts.files import find_keys, load_reviews, read_mask_of

NAMES = ["a.jpg", "=b.jpg", "'c.jpg", " d\r\n.jpg"]


@pytest.fixture
def sink(tmp_path) -> Storage:
    storage = Storage(str(tmp_path / "out"))
    manifest = Manifest(storage)
    manifest.load(["sample_id"])
    rows = [
        Record(name, OK, input_version=f"v{index} mask:m", width=6, height=4, output_sha256=f"hash{index}")
        for index, name in enumerate(NAMES)
    ]
    manifest.append(to_table(rows))
    return storage


def table(folder: Path, *lines: dict) -> Path:
    path = folder / "verdicts.csv"
    path.write_bytes(encode_csv(lines))
    return path


def reviews_of(sink: Storage) -> list[dict]:
    with Database() as database:
        load_reviews(sink, database)
        query = "SELECT * REPLACE (epoch(reviewed_at) AS reviewed_at, epoch(imported_at) AS imported_at) FROM reviews"
        names = [name for name, *_ in database.run(f"DESCRIBE {query}")]
        rows = database.run(f"{query} ORDER BY imported_at, sample_id")
        return [dict(zip(names, row, strict=True)) for row in rows]


def review_folder(folder: Path, mask: np.ndarray | bytes, name: str = "1.png") -> Path:
    """A folder with a table of one bad result, and its corrected mask."""
    (folder / "corrected").mkdir(parents=True)
    table(folder, {"sample_id": "a.jpg", "verdict": "bad", MASK_COLUMN: "masks/1.png"})
    if isinstance(mask, bytes):
        (folder / "corrected" / name).write_bytes(mask)
    else:
        Image.fromarray(mask).save(folder / "corrected" / name)
    return folder


def test_plain_table_suffices_and_names_of_any_kind_come_back(sink, tmp_path):
    lines = [
        {"sample_id": name, "verdict": verdict}
        for name, verdict in zip(NAMES, ("Good ", "BAD", "unsure", ""), strict=True)
    ]
    taken = take_back(sink, table(tmp_path, *lines, {"sample_id": "nobody.jpg", "verdict": "bad"}))
    assert taken.verdicts == {"good": 1, "bad": 1, "unsure": 1}
    assert taken.left_out == {"without a verdict": 1, "of unknown samples": 1}
    found = reviews_of(sink)
    assert {row["sample_id"]: row["verdict"] for row in found} == dict(
        zip(NAMES[:3], ("good", "bad", "unsure"), strict=True)
    )
    assert all(row["key"] == taken.key and row["reviewed_at"] == row["imported_at"] for row in found)
    assert {(row["output_sha256"], row["file_version"]) for row in found} == {(f"hash{i}", f"v{i}") for i in range(3)}
    assert describe_rounds(sink) == []  # nobody knows how they were chosen


def test_same_answers_are_stored_once_and_other_ones_beside_them(sink, tmp_path):
    path = table(tmp_path, {"sample_id": "a.jpg", "verdict": "bad", "reviewed_at": "2026-01-01T00:00:00Z"})
    first, second = take_back(sink, path), take_back(sink, path)
    assert first.key and second.is_known and find_keys(sink) == [first.key]
    later = take_back(sink, table(tmp_path, {"sample_id": "a.jpg", "verdict": "good"}))
    assert sorted(find_keys(sink)) == sorted([first.key, later.key])
    assert [row["verdict"] for row in reviews_of(sink)] == ["bad", "good"]


def test_spreadsheet_with_semicolons_and_dates_of_the_future_are_taken(sink, tmp_path):
    path = tmp_path / "verdicts.csv"
    path.write_text("note;sample_id;verdict;reviewed_at\nsmeared, left;a.jpg;bad;2999-01-01\n")
    take_back(sink, path)
    (row,) = reviews_of(sink)
    assert row["note"] == "smeared, left" and row["reviewed_at"] == row["imported_at"]  # no clock is ahead for ever


def test_last_of_several_lines_counts_and_reviews_of_replaced_results_are_told(sink, tmp_path):
    lines = [{"sample_id": "a.jpg", "verdict": verdict, "output_sha256": "earlier"} for verdict in ("good", "bad")]
    taken = take_back(sink, table(tmp_path, *({**line, "file_version": "of an earlier photo"} for line in lines)))
    assert taken.verdicts == {"bad": 1} and taken.outdated == 1
    assert reviews_of(sink)[0]["file_version"] == "of an earlier photo"  # so no mask of it is used for the present one
    assert taken.left_out == {"replaced by a later answer about the same sample": 1}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"verdict": "so-so"}, "line 2: verdict must be one of good, bad, unsure, got 'so-so'"),
        ({"verdict": "bad", "reviewed_at": "yesterday"}, "line 2: reviewed_at must be a date such as"),
        (
            {
                "verdict": "bad",
                "round": "r",
                "stratum": "s",
                "stratum_rows": "x",
                "population": "p",
                "population_rows": "1",
            },
            "line 2: stratum_rows must be a whole number, got 'x'",
        ),
    ],
)
def test_invalid_answer_is_refused_and_nothing_is_stored(sink, tmp_path, line, message):
    with pytest.raises(ConfigError, match=message):
        take_back(sink, table(tmp_path, {"sample_id": "a.jpg", **line}, {"sample_id": "=b.jpg", "verdict": "good"}))
    assert find_keys(sink) == []


def test_corrected_mask_is_stored_in_black_and_white(sink, tmp_path):
    mask = np.zeros((4, 6, 3), np.uint8)
    mask[1:3, 2:5] = 255, 200, 255
    taken = take_back(sink, review_folder(tmp_path / "review", mask))
    assert taken.corrected_masks == 1
    stored = tmp_path / "mask.png"
    stored.write_bytes(read_mask_of(sink, taken.key, "a.jpg"))
    with Image.open(stored) as picture:
        assert picture.mode == "L" and np.array_equal(np.asarray(picture), (mask[..., 0] > 0) * 255)
    with pytest.raises(LookupError):
        read_mask_of(sink, taken.key, "=b.jpg")


@pytest.mark.parametrize(
    ("mask", "name", "message"),
    [
        (np.zeros((6, 4), np.uint8), "1.png", "1.png: the corrected mask is 4x6, but a.jpg is stored as 6x4 pixels"),
        (b"no picture", "1.png", "1.png: .*not a supported image"),
        (np.zeros((4, 6), np.uint8), "2.png", "2.png is named like no mask in"),
    ],
)
def test_corrected_mask_that_does_not_fit_is_refused(sink, tmp_path, mask, name, message):
    with pytest.raises(ConfigError, match=message):
        take_back(sink, review_folder(tmp_path / "review", mask, name))
    assert find_keys(sink) == []


def test_sample_that_is_forgotten_while_it_is_imported_leaves_no_review(sink, tmp_path):
    note_forgotten(sink, ["a.jpg"])  # as a command does that has not deleted the row yet
    lines = [{"sample_id": name, "verdict": "bad"} for name in NAMES[:2]]
    take_back(sink, table(tmp_path, *lines))
    assert [row["sample_id"] for row in reviews_of(sink)] == ["=b.jpg"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("answers.txt", "a", "is neither a CSV file, a folder with verdicts.csv"),
        ("answers.csv", "name,verdict\na,bad\n", "has no column sample_id"),
        ("answers.csv", b"sample_id\n\xff\n", "is not a CSV file in UTF-8"),
        ("answers.json", "{}", "is no export of Label Studio; choose the format JSON there"),
        ("answers.json", json.dumps([{"id": 7, "data": {}, "annotations": [{"result": 3}]}]), "task 7 cannot be read"),
        (None, "", "does not exist"),
    ],
)
def test_file_that_is_no_export_is_refused(sink, tmp_path, name, content, message):
    path = tmp_path / (name or "nothing")
    if name:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=message):
        take_back(sink, path)


def test_table_is_read_as_it_was_written(tmp_path):
    lines = [{"sample_id": name, "note": name, "stratum_rows": 3} for name in [*NAMES, "\ttab", "+1", "@x", "-", "''"]]
    found = read_csv(table(tmp_path, *lines)).found
    assert [(answer.fields["sample_id"], answer.fields["note"]) for answer in found] == [
        (line["note"],) * 2 for line in lines
    ]


def test_folder_that_is_no_sink_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no manifest with rows in .*; is that the sink"):
        take_back(Storage(str(tmp_path / "out")), table(tmp_path, {"sample_id": "a.jpg", "verdict": "bad"}))
    assert not (tmp_path / "out").exists()
