import contextlib
from dataclasses import replace
from itertools import pairwise

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipeline.planning.plan
from pipeline.config.job import JobConfig, MaskConfig, RunConfig, SinkConfig, SourceConfig
from pipeline.database import Database
from pipeline.errors import ConfigError
from pipeline.manifest.log import Manifest
from pipeline.planning.listing import find_samples
from pipeline.planning.plan import make_plan
from pipeline.records import FAILED, OK, Record, to_table
from pipeline.storage.storage import Storage
from pipeline.worker.units import cut_units
from tests.conftest import make_photos


@pytest.fixture
def config(tmp_path):
    photos, masks = make_photos(tmp_path, count=3)
    return JobConfig(
        source=SourceConfig(uri=str(photos)),
        mask=MaskConfig(uri=str(masks)),
        sink=SinkConfig(uri=str(tmp_path / "out")),
    )


def found(config) -> list[dict]:
    with Database() as database:
        find_samples(config, database)
        names = ("sample_id", "input_version", "size_bytes", "mask_key")
        rows = database.run(f"SELECT {', '.join(names)} FROM samples ORDER BY sample_id")
    return [dict(zip(names, row, strict=True)) for row in rows]


def commit(config, sample: dict, status=OK, weights="w", **changes) -> Manifest:
    manifest = Manifest(Storage(config.sink.uri))
    manifest.load()
    record = Record(
        sample_id=sample["sample_id"],
        status=status,
        input_version=sample["input_version"],
        weights_fingerprint=weights,
        config_fingerprint=config.fingerprint,
    )
    manifest.append(to_table([replace(record, **changes)]))
    return manifest


@contextlib.contextmanager
def made(config, weights="w"):
    with Database() as database:
        find_samples(config, database)
        yield make_plan(config, database, weights, Manifest(Storage(config.sink.uri)))


def planned(config, weights="w"):
    with made(config, weights) as plan:
        todo = [name for chunk in plan.chunks() for name in chunk["sample_id"].to_pylist()]
        assert len(todo) == plan.todo
        return todo, dict(plan.reasons), dict(plan.done)


@pytest.mark.parametrize("key", ["source", "mask"])
@pytest.mark.parametrize("is_link", [False, True])
def test_inputs_among_the_results_are_refused(config, key, is_link, tmp_path):
    inputs, sink = tmp_path / {"source": "photos", "mask": "masks"}[key], tmp_path / "out"
    sink.mkdir()
    inputs.rename(sink / "data")
    place = tmp_path / "link" if is_link else sink / "data"
    if is_link:
        place.symlink_to(sink / "data")
    given = replace(config, **{key: replace(getattr(config, key), uri=str(place))})
    with pytest.raises(ConfigError, match=rf"{key}.uri must not lie in data/ of sink.uri, {sink}"):
        found(given)
    given = replace(given, sink=replace(config.sink, uri=str(place)))
    with pytest.raises(ConfigError, match=rf"sink.uri must be another than {key}.uri"):
        found(given)


def with_run(config, **options):
    return replace(config, run=RunConfig(**options))


def test_new_samples_are_to_do(config):
    assert planned(config) == (["000.png", "001.png", "002.png"], {"new": 3}, {})


def test_done_samples_stay_done(config):
    commit(config, found(config)[1])
    assert planned(config) == (["000.png", "002.png"], {"new": 2}, {OK: 1})


def test_failed_samples_stay_unless_asked_for(config):
    commit(config, found(config)[0], status=FAILED)
    assert planned(config)[2] == {FAILED: 1}
    assert planned(with_run(config, retry_failed=True))[1] == {"new": 2, "retried": 1}


def test_failed_samples_are_retried_by_error_type(config):
    first, second, _ = found(config)
    commit(config, first, status=FAILED, error_type="MissingMask")
    commit(config, second, status=FAILED, error_type="TruncatedImage")
    assert planned(with_run(config, retry_failed="MissingMask, FileNotFound"))[1] == {"new": 1, "retried": 1}


def test_deleted_inputs_are_noticed_and_their_rows_stay(config, tmp_path):
    for sample in found(config):
        commit(config, sample)
    (tmp_path / "photos/001.png").unlink()
    with made(config) as plan:
        assert (plan.found, plan.gone, plan.todo) == (2, 1, 0)


def test_sink_inside_the_source_is_no_input(config, tmp_path):
    inside = replace(config, sink=SinkConfig(uri=str(tmp_path / "photos" / "out")))
    Storage(inside.sink.uri).write("data/000.png", b"a result")
    assert [sample["sample_id"] for sample in found(inside)] == ["000.png", "001.png", "002.png"]


def test_sink_inside_the_source_is_no_input_by_any_name(config, tmp_path):
    (tmp_path / "photos" / "out" / "data").mkdir(parents=True)
    (tmp_path / "photos" / "000.png").rename(tmp_path / "photos" / "out" / "data" / "000.png")
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    for source, sink in (("photos", "link/out"), ("link", "photos/out")):
        source, sink = SourceConfig(uri=f"{tmp_path}/{source}"), SinkConfig(uri=f"{tmp_path}/{sink}")
        assert [row["sample_id"] for row in found(replace(config, source=source, sink=sink))] == ["001.png", "002.png"]
    unused = replace(
        config, mask=MaskConfig(kind="alpha", uri=f"{tmp_path}/unused"), sink=SinkConfig(f"{tmp_path}/unused")
    )
    assert found(unused)


def test_masks_in_a_folder_below_the_images_are_no_images(config, tmp_path):
    (tmp_path / "masks").rename(tmp_path / "photos" / "masks")
    (tmp_path / "photos/masksalike").mkdir()
    (tmp_path / "photos/000.png").rename(tmp_path / "photos/masksalike/000.png")
    inside = replace(config, mask=MaskConfig(uri=str(tmp_path / "photos" / "masks")))
    assert [sample["sample_id"] for sample in found(inside)] == ["001.png", "002.png", "masksalike/000.png"]


def test_folder_that_masks_could_lie_in_is_not_left_out_where_masks_are_no_files(config, tmp_path):
    (tmp_path / "masks").rename(tmp_path / "photos" / "masks")
    inside = replace(config, mask=MaskConfig(kind="alpha", uri=str(tmp_path / "photos" / "masks")))
    assert len(found(inside)) == 6


def test_objects_whose_results_would_have_one_place_are_told_apart(config, tmp_path):
    bucket = Storage(f"memory://{tmp_path.name}")
    for name in ("a.png", "./a.png", "b/./c.png"):
        bucket.write(name, b"x")
    with Database() as database:
        find_samples(replace(config, source=SourceConfig(uri=str(bucket)), mask=MaskConfig("alpha")), database)
        faults = dict(database.run("SELECT sample_id, fault FROM samples"))
    twice = "DuplicateKey: the source holds another sample of the name a.png"
    assert faults == {"./a.png": None, "a.png#2": twice, "b/./c.png": None}


def test_results_that_were_marked_are_done_again_unasked(config):
    first, second, third = found(config)
    commit(config, first, FAILED, error_type="ResultDamaged")
    commit(config, second, FAILED, error_type="ResultMissing")
    commit(config, third, FAILED, error_type="OSError")
    assert planned(config)[:2] == (["000.png", "001.png"], {"damaged": 2})


def test_mix_is_refused_also_where_the_other_rows_are_out_of_sight(config):
    commit(config, found(config)[0], weights="old")
    narrow = replace(config, source=replace(config.source, pattern="002*"))
    with pytest.raises(ConfigError, match=r"run\.redo_changed"):
        planned(narrow, weights="new")


def test_rows_of_gone_samples_stop_no_run_once_the_job_has_rows(config, tmp_path):
    first, second, _ = found(config)
    commit(config, first, weights="old-weights")
    (tmp_path / "photos" / "000.png").unlink()
    with pytest.raises(ConfigError, match=r"run\.redo_changed"):
        planned(config)
    commit(config, second)
    assert planned(config) == (["002.png"], {"new": 1}, {OK: 1})


def test_changed_image_and_changed_mask_are_done_again(config, tmp_path):
    for sample in found(config):
        commit(config, sample)
    for name in ("photos/000.png", "masks/002.png"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b" ")
    assert planned(config) == (["000.png", "002.png"], {"changed": 2}, {OK: 1})


def test_mix_of_weights_or_settings_is_refused_with_both_fingerprints(config):
    commit(config, found(config)[0], weights="old-weights")
    with pytest.raises(ConfigError, match=r"weights old-weights .* weights new-weights .*run.redo_changed=true"):
        planned(config, weights="new-weights")
    assert planned(with_run(config, redo_changed=True), weights="new-weights")[1] == {"new": 2, "redone": 1}
    other = replace(config, mask=replace(config.mask, dilate_px=3))
    with pytest.raises(ConfigError, match=config.fingerprint):
        planned(other, weights="old-weights")


def test_resume_false_refuses_a_sink_with_results(config):
    assert len(planned(with_run(config, resume=False))[0]) == 3
    commit(config, found(config)[0])
    with pytest.raises(ConfigError, match="already holds 1 rows"):
        planned(with_run(config, resume=False))


def test_missing_mask_is_planned_and_counted(config, tmp_path):
    (tmp_path / "masks/001.png").unlink()
    with made(config) as plan:
        assert plan.without_mask == 1 and plan.todo == 3


def test_nothing_found_names_place_and_pattern(config):
    with pytest.raises(ConfigError, match=r"no image below .*photos matches source.pattern='\*.tiff'"):
        found(replace(config, source=replace(config.source, pattern="*.tiff")))


def test_chunks_hold_every_sample_once_in_order(config, monkeypatch):
    monkeypatch.setattr(pipeline.planning.plan, "CHUNK_SAMPLES", 2)
    commit(config, found(config)[2], status=FAILED)
    with made(with_run(config, retry_failed=True)) as plan:
        chunks = [chunk.to_pylist() for chunk in plan.chunks()]
    assert [[row["sample_id"] for row in chunk] for chunk in chunks] == [["000.png", "001.png"], ["002.png"]]


@given(sizes=st.lists(st.integers(0, 100), max_size=50), max_samples=st.integers(1, 10), max_bytes=st.integers(1, 150))
def test_units_hold_every_sample_once_within_both_bounds(sizes, max_samples, max_bytes):
    edges = cut_units(np.array(sizes, np.int64), max_samples, max_bytes)
    units = [sizes[start:stop] for start, stop in pairwise(edges)]
    assert [size for unit in units for size in unit] == sizes
    for unit in units:
        assert 1 <= len(unit) <= max_samples
        assert len(unit) == 1 or sum(unit) <= max_bytes


def test_sink_that_is_the_source_is_refused(tmp_path):
    config = JobConfig(
        source=SourceConfig(uri=str(tmp_path)),
        mask=MaskConfig(uri=str(tmp_path), template="m_{path}"),
        sink=SinkConfig(uri=f"{tmp_path}/"),
    )
    with Database() as database, pytest.raises(ConfigError, match=r"sink\.uri must be another than source\.uri"):
        find_samples(config, database)


@pytest.fixture
def judged(config):
    """Three finished samples of different quality, one of them by other weights."""
    manifest = Manifest(Storage(config.sink.uri))
    manifest.load(["sample_id"])
    rows = [
        Record(
            sample["sample_id"],
            OK,
            input_version=sample["input_version"],
            seam_score=seam_score,
            weights_fingerprint=weights,
            config_fingerprint=config.fingerprint,
        )
        for sample, seam_score, weights in zip(found(config), (5.0, 35.0, None), ("w", "w", "old"), strict=True)
    ]
    manifest.append(to_table(rows))
    return config


@pytest.mark.parametrize(
    ("expression", "selected"),
    [
        ("seam_score > 30", ["001.png"]),
        ("weights_fingerprint <> 'w' -- and nothing else", ["002.png"]),
        ("seam_score >= (SELECT quantile_cont(seam_score, 0.99) FROM rows)", ["001.png"]),
        ("SAMPLE_ID LIKE '00%'", ["000.png", "001.png", "002.png"]),
        ("false", []),
    ],
)
def test_selected_rows_are_done_again_and_all_others_stay(judged, expression, selected):
    todo, reasons, done = planned(with_run(judged, select=expression))
    assert todo == selected and reasons == ({"selected": len(selected)} if selected else {})
    assert sum(done.values()) == 3 - len(selected)


def test_selection_goes_along_with_what_is_new_changed_or_made_with_other_weights(judged, tmp_path):
    (tmp_path / "photos/000.png").write_bytes((tmp_path / "photos/000.png").read_bytes() + b" ")
    (tmp_path / "photos/003.png").write_bytes((tmp_path / "photos/001.png").read_bytes())
    options = {"select": "seam_score IS NOT NULL", "redo_changed": True}
    assert planned(with_run(judged, **options))[1] == {"new": 1, "changed": 1, "selected": 1, "redone": 1}


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("seem_score > 30", "Binder Error.*seem_score.*seam_score"),
        ("seam_score >", "Parser Error.*syntax error"),
        ("true); DROP TABLE rows; SELECT (true", "must be one expression"),
        ("sample_id IN (SELECT content FROM read_text('{folder}/secret'))", "disabled by configuration"),
        ("sample_id IN (SELECT content FROM '{folder}/secret')", "does not exist"),
        ("sample_id IN (FROM (COPY rows TO '{folder}/copy.csv'))", "Parser Error"),
        ("true) OR sample_id IN (WITH gone AS (DELETE FROM rows RETURNING sample_id) FROM gone", "Error"),
        ("sample_id::int > 1", "Conversion Error"),
    ],
)
def test_faulty_selection_is_refused_with_the_sentence_of_the_database(judged, tmp_path, expression, message):
    (tmp_path / "secret").write_text("000.png")
    faulty = with_run(judged, select=expression.replace("{folder}", str(tmp_path)))
    with pytest.raises(ConfigError, match=f"^run.select=.*{message}") as error:
        planned(faulty)
    assert "\n" not in str(error.value) and not (tmp_path / "copy.csv").exists()


def test_selection_by_a_statement_that_writes_is_refused(judged):
    """The database knows statements inside of queries; the transaction lets none of them change anything."""
    with Database() as database:
        Manifest(Storage(judged.sink.uri)).load_into(database, ["sample_id"])
        query = "WITH gone AS (DELETE FROM rows RETURNING sample_id) SELECT sample_id FROM gone"
        with pytest.raises(duckdb.Error, match=r"read-only|CTE needs a SELECT"):
            list(database.stream(query, 10, read_only=True))
        assert database.run("SELECT count(*) FROM rows") == [(3,)]


def test_faulty_selection_is_told_before_anything_is_listed(config):
    nowhere = replace(with_run(config, select="seem_score > 1"), source=SourceConfig(uri="/nowhere/at/all"))
    with Database() as database, pytest.raises(ConfigError, match=r"^run\.select"):
        find_samples(nowhere, database)
