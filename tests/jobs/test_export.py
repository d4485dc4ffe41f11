"""``moebius export`` as users start it: targets, formats, what it says, exit codes."""

from pathlib import Path

import pytest

from jobs.export import format_of_target, main
from pipeline.export.registry import EXPORT_FORMATS
from pipeline.maintenance.forget import forget
from tests.pipeline.export.targets import Place, commit, make_sink, picture, place, result


@pytest.fixture
def sink(tmp_path):
    return make_sink(tmp_path / "sink")


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("out/", "parquet"),
        ("s3://bucket/clean", "parquet"),
        ("s3://bucket/clean.lance", "lance"),
        ("clean.lance/", "lance"),
        ("iceberg://lake/clean/photos", "iceberg"),
        ("hf://datasets/owner/name", "hf"),
    ],
)
def test_target_says_its_format(target, kind):
    assert format_of_target(target) == kind and kind in EXPORT_FORMATS


def test_export_says_what_is_written_left_out_and_nothing_the_second_time(sink, tmp_path, capsys):
    target = tmp_path / "clean"
    assert main([str(sink), f"{target}/"]) == 0
    said = capsys.readouterr().out
    assert f"{target}/: 5 rows; 5 added, 0 changed, 0 removed; " in said
    assert "left out: 2 failed (decode: TruncatedImage)\nleft out: 1 unchanged\n" in said
    assert main([str(sink), str(target)]) == 0
    assert f"{target}: 5 rows; nothing changed\n" in capsys.readouterr().out
    assert Place("parquet", str(target), {}).by_id()["a/3.png"]["image"] == picture(3)
    commit(sink, [result(sink, "a/1.png", 77)])
    assert main([str(sink), str(target)]) == 0
    assert "1 changed" in (said := capsys.readouterr().out) and "earlier versions" not in said  # a folder has none


def test_options_lead_to_tables_whose_earlier_versions_are_purged(sink, tmp_path, capsys):
    target = place("delta", tmp_path)
    arguments = [str(sink), target.uri, "--format", "delta", "--images", "references", "--with-unchanged"]
    assert main(arguments) == 0 and len(target.rows()) == 6
    commit(sink, [result(sink, "a/1.png", 77)])
    forget(sink, ["a/2.png"], "forgetting")
    capsys.readouterr()
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "5 rows; 0 added, 1 changed, 1 removed; version 1\ncopied: 4 unchanged rows" in said
    assert "left out: 1 forgotten\n" in said and "earlier versions of TARGET still hold" in said
    assert main([*arguments, "--purge"]) == 0 and len(target.rows()) == 5
    assert len(list((tmp_path / "table" / "data").iterdir())) == 2


def test_catalog_is_given_by_its_properties(sink, tmp_path):
    target = place("iceberg", tmp_path / "lake")
    properties = [part for pair in target.options.items() for part in ("--target-storage", "=".join(pair))]
    assert main([str(sink), target.uri, *properties]) == 0
    assert target.by_id()["a/3.png"]["image"] == picture(3)


def test_unreadable_results_are_told_by_an_exit_code(sink, tmp_path, capsys):
    (tmp_path / "sink" / "data" / "a" / "1.png").unlink()
    assert main([str(sink), str(tmp_path / "out.lance")]) == 3
    assert "unreadable: 1 results missing; see moebius verify" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{sink}/data/x"], "TARGET must be neither in SINK nor around it"),
        (["{folder}"], "TARGET must be neither in SINK nor around it"),
        (["file://{sink}/data/x"], "TARGET must be neither in SINK nor around it"),
        (["{folder}/x", "--target-storage", "hunter2"], "--target-storage takes options of the form key=value"),
        (["{folder}/x", "--format", "hf"], "--format hf needs a TARGET that begins with hf://"),
        (["iceberg://a/b/c", "--format", "delta"], "--format delta cannot write to iceberg://"),
        (["iceberg://a/b"], "must be iceberg://CATALOG/NAMESPACE/TABLE"),
        (["iceberg://nowhere/a/b"], "cannot open the Iceberg catalog 'nowhere'"),
        (["hf://datasets/a/b", "--images", "references"], "readers of hf:// cannot open files of this machine"),
        (["{folder}/mine"], "holds notes.txt, but no export; choose another target, nothing was written"),
        (["{folder}/mine/notes.txt/out"], "TARGET: cannot write to {folder}/mine/notes.txt/out: Not a directory"),
        (["{folder}/mine", "--format", "delta"], "holds notes.txt, but no table"),
        (["{folder}/mine", "--format", "lance"], "holds notes.txt, but no Lance data set"),
    ],
)
def test_wrong_targets_are_refused_before_anything_is_written(sink, tmp_path, capsys, arguments, message):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    before = shown(tmp_path)
    given = [text.format(sink=sink, folder=tmp_path) for text in arguments]
    assert main([str(sink), *given]) == 2
    assert message.format(folder=tmp_path) in capsys.readouterr().err
    assert shown(tmp_path) == before


def shown(folder: Path) -> list[Path]:
    """The paths below a folder that are not hidden."""
    return [path for path in sorted(folder.rglob("*")) if "/." not in str(path)]


@pytest.mark.parametrize(
    ("properties", "code", "message"),
    [
        (["uri=postgresql://me:hunter2@127.0.0.1:9/x"], 2, "needs a package: "),
        (["type=sql", "uri=sqlite:////proc/none/hunter2.db"], 1, "does not answer as expected: OperationalError"),
        (["type=rest", "uri=http://127.0.0.1:9/", "token=hunter2"], 1, ""),
        (["type=none", "token=hunter2"], 2, "cannot open the Iceberg catalog 'lake': ValueError"),
    ],
)
def test_catalog_that_does_not_open_is_told_without_its_properties(sink, capsys, properties, code, message):
    given = [part for text in properties for part in ("--target-storage", text)]
    assert main([str(sink), "iceberg://lake/a/b", *given]) == code
    said = capsys.readouterr().err
    assert message in said and "hunter2" not in said and said.count("\n") == 1


def test_sink_that_is_none_is_refused(tmp_path, capsys):
    assert main([str(tmp_path / "nothing"), str(tmp_path / "out.lance")]) == 2
    assert "holds no manifest" in capsys.readouterr().err
