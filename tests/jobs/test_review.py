from pathlib import Path

import pytest

from jobs.review import main
from pipeline.manifest.log import Manifest
from pipeline.records import OK, Record, to_table
from pipeline.storage.storage import Storage


@pytest.fixture
def sink(tmp_path) -> Path:
    """Rows of results whose source and files are gone."""
    manifest = Manifest(Storage(str(tmp_path / "out")))
    manifest.load(["sample_id"])
    rows = [
        Record(f"{number}.jpg", OK, seam_score=number, mask_fraction=0.1, output_sha256=f"{number}", run_id="r")
        for number in range(8)
    ]
    manifest.append(to_table(rows))
    return tmp_path / "out"


@pytest.mark.parametrize("tool", ["folder", "labelstudio", "fiftyone"])
def test_sample_is_written_and_told_by_stratum_even_without_pictures(sink, tmp_path, capsys, tool):
    out = tmp_path / "review"
    assert main([str(sink), str(out), "--count", "4", "--by", "seam_score > 3", "--to", tool]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split() for line in said[:2]] == [["false", "2", "of", "4"], ["true", "2", "of", "4"]]
    assert said[2].startswith("4 results to judge: ") and any(out.iterdir())
    assert ("4 results cannot be read" in said[2]) == (tool != "folder")


def test_folder_that_holds_verdicts_is_not_replaced(sink, tmp_path, capsys):
    (tmp_path / "review").mkdir()
    (tmp_path / "review" / "verdicts.csv").write_text("sample_id,verdict\n0.jpg,bad\n")
    assert main([str(sink), str(tmp_path / "review")]) == 2
    assert "is not empty, it may hold verdicts" in capsys.readouterr().err
    assert "bad" in (tmp_path / "review" / "verdicts.csv").read_text()


def test_import_is_told_with_what_is_left_out(sink, tmp_path, capsys):
    path = tmp_path / "verdicts.csv"
    path.write_text("sample_id,verdict\n0.jpg,bad\n1.jpg,\nnobody.jpg,bad\n")
    assert main([str(sink), "--import", str(path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("reviews: 1 (1 bad); reviews/")
    assert "left out: 1 of unknown samples\nleft out: 1 without a verdict\n" in said
    assert main([str(sink), "--import", str(path)]) == 0
    assert "reviews: 1 (1 bad); imported before, nothing new" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--import", "x.csv", "--count", "3"],
            "--import takes verdicts back and draws nothing: --count has no meaning",
        ),
        (["--import", "x.csv", "out"], "OUT has no meaning beside it"),
        (["--import", "nothing.csv"], "--import: nothing.csv does not exist"),
        (["--where", "verdict ="], "--where='verdict =': Parser Error"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(sink, capsys, arguments, message):
    assert main([str(sink), *arguments]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert message in error


def test_folder_that_is_no_sink_is_refused(tmp_path, capsys):
    assert main([str(tmp_path), str(tmp_path / "review")]) == 2
    assert "holds no result; is it the sink.uri of a job?" in capsys.readouterr().err
    assert not (tmp_path / "review").exists()
