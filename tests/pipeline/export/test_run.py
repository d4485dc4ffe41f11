"""Exports of every format: what is in them, what a second one writes, and what a killed one leaves."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigError
from pipeline.export.base import TargetConflictError
from pipeline.export.registry import BYTES, REFERENCES
from pipeline.export.run import ExportOptions, export
from pipeline.maintenance.forget import forget
from pipeline.manifest.log import Manifest
from pipeline.manifest.tombstones import note_forgotten
from pipeline.records import OK
from pipeline.sinks.results import read_result
from pipeline.storage.storage import Storage
from tests.conftest import ROOT
from tests.pipeline.export.targets import KINDS, TABLES, commit, make_sink, picture, place, result


@pytest.fixture
def sink(tmp_path) -> Storage:
    return make_sink(tmp_path / "sink")


@pytest.fixture(params=KINDS)
def target(request, tmp_path):
    return place(request.param, tmp_path / "target")


@pytest.fixture(params=TABLES)
def table(request, tmp_path):
    return place(request.param, tmp_path / "target")


def test_rows_are_the_current_results_and_what_is_left_out_is_counted(sink, target):
    done = target.export(sink)
    found = target.by_id()
    assert done.rows == done.added == 5 and set(found) == {f"a/{n}.png" for n in range(5)}
    rows = {row["sample_id"]: row for row in Manifest(sink).load().to_pylist()}
    for name, row in found.items():
        assert row["image"] == read_result(rows[name], {}) and "output_uri" not in row
        shared = row.keys() & rows[name].keys()
        assert {key: row[key] for key in shared} == {key: rows[name][key] for key in shared}
        assert {"width", "seam_score", "output_sha256", "run_id", "started_at"} <= shared
    assert done.left_out == {"failed (decode: TruncatedImage)": 2, "unchanged": 1}


def test_unchanged_samples_are_exported_on_request(sink, target):
    assert target.export(sink, with_unchanged=True).rows == 6
    assert target.by_id()["empty.png"]["image"] == picture(99)


def test_second_export_without_changes_commits_nothing(sink, target):
    target.export(sink)
    before = target.version()
    done = target.export(sink)
    assert done.version is None and done.rows == 5 and target.version() == before


def test_changed_sample_replaces_its_row_and_no_other_is_written_but_for_its_file(sink, target):
    target.export(sink)
    commit(sink, [result(sink, "a/1.png", 77), result(sink, "new.png", 78)])
    done = target.export(sink)
    assert (done.added, done.changed, done.removed, done.replaced_all) == (1, 1, 0, False)
    assert done.copied == (0 if target.kind in ("lance", "imagefolder") else 4)
    found = target.by_id()
    assert len(found) == done.rows == 6
    assert [found[name]["image"] for name in ("a/0.png", "a/1.png", "new.png")] == list(map(picture, (0, 77, 78)))


def test_rows_in_other_files_than_the_changed_ones_are_not_copied(sink, target):
    target.export(sink)
    commit(sink, [result(sink, "new.png", 78)])
    assert target.export(sink).copied == 0
    commit(sink, [result(sink, "new.png", 79)])
    assert target.export(sink).copied == 0
    assert target.by_id()["new.png"]["image"] == picture(79)


def test_forgotten_sample_disappears_and_with_purge_from_all_earlier_versions(sink, target, tmp_path):
    target.export(sink)
    gone = picture(2)
    forget(sink, ["a/2.png"], "forgetting")
    done = target.export(sink, purge=True)
    assert (done.added, done.changed, done.removed) == (0, 0, 1) and done.left_out["forgotten"] == 1
    assert set(target.by_id()) == {f"a/{n}.png" for n in (0, 1, 3, 4)}
    assert not [path for path in (tmp_path / "target").rglob("*") if path.is_file() and holds(path, gone)]


@pytest.mark.parametrize("kind", [pytest.param("parquet", marks=pytest.mark.slow), "imagefolder"])
def test_what_an_export_leaves_that_is_killed_after_its_commit_is_deleted_by_the_next(
    sink, tmp_path, kind, monkeypatch
):
    target, gone = place(kind, tmp_path / "target"), picture(2)
    target.export(sink)
    forget(sink, ["a/2.png"], "forgetting")
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(Storage, "delete", interrupted)
        target.export(sink)
    assert set(target.by_id()) == {f"a/{n}.png" for n in (0, 1, 3, 4)}
    assert [path for path in (tmp_path / "target").rglob("*") if path.is_file() and holds(path, gone)]
    assert target.export(sink).version is None
    assert not [path for path in (tmp_path / "target").rglob("*") if path.is_file() and holds(path, gone)]


def interrupted(*_):
    raise KeyboardInterrupt


def test_export_none_of_whose_results_can_be_read_changes_nothing(sink, target, tmp_path):
    target.export(sink)
    before = target.by_id()
    (tmp_path / "sink" / "data").rename(tmp_path / "unmounted")
    commit(sink, [replace(row, run_id="again") for row in (result(sink, f"a/{n}.png", n) for n in range(5))])
    for path in (tmp_path / "sink" / "data").rglob("*.png"):
        path.unlink()
    with pytest.raises(OSError, match=r"no result of .* can be read \(5 missing\): nothing was exported"):
        target.export(sink)
    assert target.by_id() == before


def holds(path: Path, image: bytes) -> bool:
    """Whether a file holds an image, as Parquet or as it is."""
    if path.suffix != ".parquet":
        return image[40:400] in path.read_bytes()
    if "image" not in pq.read_schema(path).names:
        return False
    return image in [row["bytes"] if isinstance(row, dict) else row for row in pq.read_table(path)["image"].to_pylist()]


def test_last_sample_may_disappear(tmp_path, target):
    sink = make_sink(tmp_path / "sink", count=1)
    target.export(sink)
    forget(sink, ["a/0.png"], "forgetting")
    assert target.export(sink).rows == 0 and target.rows() == []
    commit(sink, [result(sink, "b.png", 5)])
    assert target.export(sink).rows == 1 and target.by_id()["b.png"]["image"] == picture(5)


def test_references_say_where_results_are_and_no_result_is_read(sink, table, tmp_path):
    for path in (tmp_path / "sink" / "data").rglob("*.png"):
        path.unlink()
    done = table.export(sink, REFERENCES)
    assert not done.unread
    assert {(row["output_uri"], "image" in row) for row in table.rows()} == {
        (sink.uri(f"data/a/{n}.png"), False) for n in range(5)
    }


def test_other_columns_have_all_rows_written_again_in_one_commit(sink, table):
    table.export(sink, REFERENCES)
    done = table.export(sink, BYTES)
    assert done.replaced_all and done.rows == 5
    assert {name: row["image"] for name, row in table.by_id().items()} == {f"a/{n}.png": picture(n) for n in range(5)}
    assert table.export(sink, BYTES).version is None


def test_image_folder_of_references_is_refused(sink, tmp_path):
    target = place("imagefolder", tmp_path / "target")
    with pytest.raises(ConfigError, match="an image folder holds image files; use bytes"):
        target.export(sink, REFERENCES)
    assert not [path for path in Path(target.uri).glob("*") if not path.name.startswith(".")]


@pytest.mark.parametrize("content", [b"no Parquet", None])
def test_table_of_another_program_in_an_image_folder_is_refused_and_stays(sink, tmp_path, content):
    target = place("imagefolder", tmp_path / "target")
    own = Path(target.uri) / "metadata.parquet"
    own.parent.mkdir(parents=True)
    if content:
        own.write_bytes(content)
    else:
        pq.write_table(pa.table({"file_name": ["cat.jpg"]}), own)
    before = own.read_bytes()
    with pytest.raises(ConfigError, match=r"holds a metadata\.parquet .*choose another target"):
        target.export(sink)
    assert own.read_bytes() == before


def test_images_of_an_image_folder_have_names_for_people_and_those_of_others_stay(sink, tmp_path):
    target = place("imagefolder", tmp_path / "target")
    commit(sink, [replace(result(sink, "x.png", 9), sample_id="../a b/é;x.png")])
    target.export(sink)
    names = sorted(path.name.partition("-")[2] for path in Path(target.uri).glob("images/*/*"))
    assert names == ["0.png", "1.png", "2.png", "3.png", "4.png", "__x.png"]
    other = Path(target.uri) / "images" / "notes.txt"
    other.write_text("mine")
    commit(sink, [result(sink, "a/1.png", 77)])
    assert target.export(sink, purge=True).changed == 1
    assert other.exists() and len(list(Path(target.uri).glob("images/*/*"))) == 6


def test_unreadable_results_are_left_out_and_counted_each_time(sink, target, tmp_path):
    (tmp_path / "sink" / "data" / "a" / "1.png").unlink()
    (tmp_path / "sink" / "data" / "a" / "3.png").write_bytes(b"another")
    done = target.export(sink)
    assert done.unread == {"missing": 1, "damaged, or replaced since": 1} and done.rows == 3
    again = target.export(sink)
    assert again.version is None and again.unread == done.unread and again.rows == 3
    commit(sink, [result(sink, "a/1.png", 1)])
    assert target.export(sink).added == 1 and target.by_id()["a/1.png"]["image"] == picture(1)


def test_names_with_quotes_and_other_scripts_are_replaced_and_removed(sink, target):
    names = ["it's.png", 'a "b" \\n%.png', "猫/é.png", "x'); DROP TABLE rows;--.png"]
    commit(sink, [result(sink, f"plain-{n}.png", n) for n in range(4)])
    manifest_rows = [replace(result(sink, f"plain-{n}.png", n), sample_id=name) for n, name in enumerate(names)]
    commit(sink, manifest_rows)
    target.export(sink)
    commit(sink, [replace(result(sink, f"q-{n}.png", 50 + n), sample_id=name) for n, name in enumerate(names[:2])])
    Manifest(sink)
    assert target.export(sink).changed == 2
    found = target.by_id()
    assert [found[name]["image"] for name in names] == list(map(picture, (50, 51, 2, 3)))


def test_target_of_another_sink_is_refused_and_left_alone(sink, target, tmp_path):
    target.export(sink)
    before = target.version()
    with pytest.raises(ConfigError, match="TARGET holds an export of another sink"):
        target.export(make_sink(tmp_path / "other", count=2))
    assert target.version() == before and len(target.rows()) == 5


def test_sample_forgotten_during_the_export_stops_it(sink, target):
    class Forgetting:
        """Forgets a sample while rows are written."""

        def __init__(self, inner):
            self.inner = inner

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def commit(self, changes):
            def rows():
                yield from changes.rows
                note_forgotten(sink, ["a/0.png"])

            return self.inner.commit(replace(changes, rows=rows()))

    with target.open() as inner, pytest.raises(ConfigError, match=r"samples were forgotten in .* during the export"):
        export(sink, Forgetting(inner), ExportOptions(BYTES))
    assert target.export(sink).rows == 4 and "a/0.png" not in target.by_id()


@pytest.mark.parametrize("kind", ["delta", "iceberg", "lance"])
def test_commit_of_another_program_in_between_is_a_conflict(sink, tmp_path, kind):
    target = place(kind, tmp_path / "target")
    target.export(sink)
    commit(sink, [result(sink, "a/1.png", 77)])

    class Slow:
        """Lets another export go first."""

        def __init__(self, inner):
            self.inner = inner

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def commit(self, changes):
            target.export(sink)
            return self.inner.commit(changes)

    with target.open() as inner, pytest.raises(TargetConflictError):
        export(sink, Slow(inner), ExportOptions(BYTES))
    assert target.by_id()["a/1.png"]["image"] == picture(77)


def test_failure_of_the_sink_is_raised_as_it_is_and_nothing_is_committed(sink, target, monkeypatch):
    target.export(sink)
    before = [row["sample_id"] for row in target.rows()]
    commit(sink, [result(sink, f"new-{n}.png", n) for n in range(3)])
    read = Storage.read

    def away(self, key="", *others):
        if key.endswith("new-2.png"):
            raise OSError("the storage is away")
        return read(self, key, *others)

    monkeypatch.setattr("pipeline.export.results.BATCH_ROWS", 1)
    monkeypatch.setattr(Storage, "read", away)
    with pytest.raises(OSError, match=r"^the storage is away$"):
        target.export(sink)
    monkeypatch.undo()
    assert [row["sample_id"] for row in target.rows()] == before


KILLED = """
import os, signal, sys
from pathlib import Path
from pipeline.export import results, selection
from tests.pipeline.export.targets import place
from pipeline.storage.storage import Storage

kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
results.BATCH_ROWS = 1
if sys.argv[3] == "while rows are written":
    whole = results.ResultReader._whole
    seen = []
    results.ResultReader._whole = lambda *given: (seen.append(1), len(seen) > 2 and kill(), whole(*given))[2]
else:
    selection.Selection.check_forgotten = kill
place(sys.argv[1], Path(sys.argv[2]) / "target").export(Storage(sys.argv[2] + "/sink"))
"""


@pytest.mark.parametrize(
    "moment", ["before the commit", pytest.param("while rows are written", marks=pytest.mark.slow)]
)
def test_killed_export_leaves_the_old_rows_and_the_next_one_completes_it(sink, target, tmp_path, moment):
    target.export(sink)
    before = target.by_id()
    commit(sink, [result(sink, f"a/{n}.png", 60 + n) for n in (1, 2, 3)])
    forget(sink, ["a/4.png"], "forgetting")
    command = [sys.executable, "-c", KILLED, target.kind, str(tmp_path), moment]
    killed = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert target.by_id() == before
    done = target.export(sink, purge=True)
    assert (done.changed, done.removed) == (3, 1)
    assert {name: row["image"] for name, row in target.by_id().items()} == {
        f"a/{n}.png": picture(seed) for n, seed in enumerate((0, 61, 62, 63))
    }
    if target.kind == "imagefolder":
        assert len(list((tmp_path / "target").rglob("*.png"))) == 4
    if target.kind in ("parquet", "delta"):  # what the killed one has left is gone
        files = [path for path in (tmp_path / "target" / "table" / "data").iterdir()]
        assert sum(pq.read_metadata(path).num_rows for path in files) == 4


def test_rows_that_name_results_elsewhere_are_refused(tmp_path, target):
    sink = make_sink(tmp_path / "sink")
    commit(sink, [replace(result(sink, "x.png", 1), status=OK, output_uri="/etc/passwd")])
    with pytest.raises(ConfigError, match="name results elsewhere, such as /etc/passwd"):
        target.export(sink)


@pytest.mark.parametrize("name", ["../sink/data/a/0.png", "/etc/passwd", "data/x.parquet"])
def test_card_that_lists_files_of_others_is_refused(sink, tmp_path, name):
    target = place("parquet", tmp_path / "target")
    target.export(sink)
    card = Path(target.uri) / "README.md"
    (listed,) = Path(target.uri).glob("data/*.parquet")
    card.write_text(card.read_text().replace(f"data/{listed.name}", name))
    with pytest.raises(ConfigError, match="which no export has written"):
        target.export(sink)
    assert listed.exists()


def test_folders_may_have_unusual_names(sink, tmp_path):
    for kind in ("parquet", "imagefolder", "delta", "lance"):
        target = place(kind, tmp_path / "a b#c é?" / kind)
        assert target.export(sink).added == 5
        commit(sink, [result(sink, "a/1.png", 77)])
        assert target.export(sink).version is None or target.by_id()["a/1.png"]["image"] == picture(77)


@pytest.mark.parametrize("kind", ["delta", "lance"])
def test_files_of_others_in_the_folder_of_a_table_outlive_a_purge(sink, tmp_path, kind):
    target = place(kind, tmp_path / "target")
    target.export(sink)
    others = [Path(target.uri) / name for name in ("notes.txt", "data/mine.parquet", "data/sub/photo.png")]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"mine")
    commit(sink, [result(sink, "a/1.png", 77)])
    assert target.export(sink, purge=True).changed == 1
    assert all(path.read_bytes() == b"mine" for path in others) and len(target.by_id()) == 5


@pytest.mark.parametrize(
    ("kind", "name"), [("delta", "data/photo.png"), ("lance", "_delta_log/0.json"), ("lance", "data/a.png")]
)
def test_folder_with_files_of_others_is_not_taken_for_a_new_table(sink, tmp_path, kind, name):
    target = place(kind, tmp_path / "target")
    path = Path(target.uri) / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    with pytest.raises(ConfigError, match=f"holds {name}, but no"):
        target.export(sink)


def test_first_export_that_breaks_off_leaves_nothing_to_read_and_can_be_repeated(sink, target, monkeypatch):
    def stop(_):
        raise OSError("the machine is gone")

    with monkeypatch.context() as broken, pytest.raises(OSError, match="the machine is gone"):
        broken.setattr("pipeline.export.selection.Selection.check_forgotten", stop)
        target.export(sink)
    with target.open() as opened:
        assert opened.state() is None or not sum(map(len, opened.exported()))
    assert target.export(sink).added == 5 and len(target.by_id()) == 5
