from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from pipeline.database import Database
from pipeline.manifest.log import Manifest
from pipeline.records import FAILED, OK, UNCHANGED, Record, to_table
from pipeline.report.charts import draw_charts
from pipeline.report.figures import MAX_CLASSES, load_rows, read_figures
from pipeline.report.formatting import moment, number, percent, seconds, shown, size
from pipeline.report.gallery import choose_samples
from pipeline.report.page import render_page
from pipeline.report.publish import COLUMNS
from pipeline.report.runs import MAX_RUNS
from pipeline.storage.storage import Storage

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def records(count: int = 400) -> list[Record]:
    """Of two runs, the second ten days later; every tenth has failed, every eleventh is unchanged."""
    generator = np.random.default_rng(0)
    made = []
    for index in range(count):
        late = index >= count // 2
        record = Record(
            sample_id=f"{index:04}",
            status=OK,
            width=100,
            height=50,
            mask_fraction=float(generator.uniform(0.0005, 1)),
            window_count=2,
            output_bytes=1000,
            seam_score=float(generator.normal(0, 5)),
            run_id="second" if late else "first",
            started_at=BEGAN + timedelta(days=10 * late, seconds=index),
            decode_s=float(generator.uniform(0, 1)),
        )
        if index % 10 == 0:
            record.status, record.error_stage, record.error_type = FAILED, "decode", f"Kind{index % 40}"
            record.error_message, record.seam_score = "x" * 1000, None
        elif index % 11 == 0:
            record.status, record.seam_score = UNCHANGED, None
        made.append(record)
    made[1].seam_score = float("nan")  # of another hand
    made[2].started_at = None
    return made


@pytest.fixture
def database(tmp_path):
    sink = Storage(str(tmp_path))
    manifest = Manifest(sink)
    manifest.load(["sample_id"])
    manifest.append(to_table(records()))
    with Database() as database:
        load_rows(sink, database, COLUMNS)
        yield database


def test_figures_count_every_row_once(database, tmp_path):
    figures, made = read_figures(Storage(str(tmp_path)), database), records()
    results = [record for record in made if record.status == OK]
    assert figures.counts == {status: sum(r.status == status for r in made) for status in (OK, UNCHANGED, FAILED)}
    assert figures.samples == 400 and figures.pixels == 400 * 5000 and figures.windows == 800
    assert sum(figures.hole_sizes) == len(results)
    assert sum(count for *_, count in figures.seams) == len(results) - 1  # one has no score
    assert all(low < high for low, high, _ in figures.seams)
    assert [run.run_id for run in figures.runs] == ["second", "first"]
    for run_id, line in figures.rates.items():
        step = line[1][0] - line[0][0]
        assert sum(rate for _, rate in line) * step == pytest.approx(199 if run_id == "first" else 200)
        assert line[-1][0] < 202  # days without work between the runs do not count
    (stage,) = figures.stages
    took = [record.decode_s for record in made]
    assert (stage.stage, stage.max_s) == ("decode", max(took))
    assert stage.median_s == pytest.approx(np.median(took)) and stage.p95_s == pytest.approx(np.quantile(took, 0.95))
    assert {(group.kind, group.count) for group in figures.failures} == {
        (f"Kind{kind}", 10) for kind in (0, 10, 20, 30)
    }
    assert [name for name, _ in figures.failures[0].examples] == ["0000", "0040", "0080"]
    assert len(figures.failures[0].examples[0][1]) == 400 and figures.failures_left_out == 0
    assert set(draw_charts(figures)) == {"rates", "stages", "holes", "seams"}


def test_runs_beyond_the_newest_are_counted(tmp_path):
    sink = Storage(str(tmp_path))
    manifest = Manifest(sink)
    manifest.load(["sample_id"])
    rows = [Record(str(i), OK, run_id=f"{i:03}", started_at=BEGAN + timedelta(days=i)) for i in range(MAX_RUNS + 3)]
    manifest.append(to_table([*rows, Record("other hand", OK)]))
    with Database() as database:
        load_rows(sink, database, COLUMNS)
        figures = read_figures(sink, database)
    assert len(figures.runs) == MAX_RUNS and figures.runs[0].run_id == rows[-1].run_id and figures.runs_left_out == 3
    assert "3 older runs are not listed" in render_page("sink", figures, []).decode()


def test_verified_samples_are_counted_and_those_with_residue_come_first(tmp_path):
    sink = Storage(str(tmp_path))
    manifest = Manifest(sink)
    manifest.load(["sample_id"])
    found = {"a": (0.0, 1), "b": (0.0, 3), "c": (0.02, 5), "d": (0.3, 5), "e": (0.0, 1), "f": (None, None)}
    rows = [Record(name, OK, residual=left, tries=tries, seam_score=1.0) for name, (left, tries) in found.items()]
    manifest.append(to_table(rows))
    with Database() as database:
        load_rows(sink, database, COLUMNS)
        figures, gallery = read_figures(sink, database), choose_samples(database, 6)
    assert figures.verified == {"clean at try 1": 2, "clean at try 3": 1, "left": 2} and figures.left == 2
    assert [row["sample_id"] for row in gallery][:2] == ["d", "c"]
    page = render_page("sink", figures, []).decode()
    assert "Verified: 2 clean at try 1, 1 clean at try 3, 2 left; those in which something is left come first" in page


def test_seam_scores_that_are_alike_are_told_apart_no_finer_than_they_are_labelled(tmp_path):
    sink = Storage(str(tmp_path))
    manifest = Manifest(sink)
    manifest.load(["sample_id"])
    manifest.append(to_table([Record(str(i), OK, seam_score=1.0 + i / 100) for i in range(20)]))
    with Database() as database:
        load_rows(sink, database, COLUMNS)
        seams = read_figures(sink, database).seams
    assert len({f"{low:.1f}" for low, *_ in seams}) == len(seams) and sum(count for *_, count in seams) == 20


def test_kinds_of_failure_beyond_counting_are_summed(tmp_path):
    sink = Storage(str(tmp_path))
    manifest = Manifest(sink)
    manifest.load(["sample_id"])
    manifest.append(to_table([Record(str(i), FAILED, "read", f"Kind{i}") for i in range(MAX_CLASSES + 7)]))
    with Database() as database:
        load_rows(sink, database, COLUMNS)
        figures = read_figures(sink, database)
        assert len(figures.failures) == MAX_CLASSES and figures.failures_left_out == 7
        assert draw_charts(figures) == {}


def test_gallery_has_the_worst_a_cross_section_and_each_kind_of_failure(database):
    rows = choose_samples(database, 40)
    assert len(rows) == 40 == len({row["sample_id"] for row in rows})
    scores = [row["seam_score"] for row in rows if row["status"] == OK]
    every = sorted((r.seam_score for r in records() if r.status == OK and r.seam_score == r.seam_score), reverse=True)
    worst = [score for score in scores if score == score]
    assert worst == sorted(worst, reverse=True) and worst[:15] == every[:15]
    assert min(worst) < np.quantile(every, 0.1)
    assert {row["error_type"] for row in rows[-12:] if row["status"] == FAILED} == {
        "Kind0",
        "Kind10",
        "Kind20",
        "Kind30",
    }
    assert choose_samples(database, 0) == []


def test_words_are_short_and_hide_nothing():
    assert shown("a\u202eb\n\0ü👩\u200d🚀") == "a\\u202eb\\n\\x00ü👩\u200d🚀"
    assert [number(value) for value in (None, float("nan"), 7, 12345, 0.714)] == ["–", "–", "7", "12,345", "0.71"]
    assert [percent(*pair) for pair in ((1, 1_000_000), (999_999, 1_000_000), (0, 5), (1, 3), (5, 5), (1, 0))] == [
        "0.0001 %",
        "99.9 %",
        "0 %",
        "33.3 %",
        "100 %",
        "–",
    ]
    assert [seconds(value) for value in (0, 0.0042, 0.9996, 3.14159, 600, 9600)] == [
        "0 s",
        "4.2 ms",
        "1 s",
        "3.14 s",
        "10 min",
        "2:40 h",
    ]
    assert [size(value) for value in (None, 999, 999_700, 1_690_000, 5e12)] == ["–", "999 B", "1 MB", "1.69 MB", "5 TB"]
    assert moment(BEGAN.timestamp()) == "2026-01-01 00:00:00 UTC" and moment(None) == "–"
