import pyarrow.parquet as pq
import pytest
from PIL import Image

from jobs import contact_sheet
from jobs.contact_sheet import main
from jobs.pictures.sheet import CELL_PX, NOTHING, strip
from pipeline.records import Record, to_table
from tests.conftest import make_photos
from tests.pipeline.flow_here import quicken, run_here
from tests.pipeline.report.conftest import job


@pytest.fixture
def drawn(monkeypatch):
    """Pictures and label of every strip that is drawn."""
    drawn = []

    def record(photos, label):
        drawn.append((photos, label))
        return strip(photos, label)

    monkeypatch.setattr(contact_sheet, "strip", record)
    return drawn


def test_sheet_shows_what_there_is_and_says_what_is_wrong(tmp_path, tiny_weights, monkeypatch, drawn):
    quicken(monkeypatch)
    make_photos(tmp_path, count=3)
    run_here(job(tmp_path, tiny_weights))
    sink, picture = tmp_path / "out", tmp_path / "sheet.png"
    (sink / "data" / "000.png").write_bytes(b"no image")
    (tmp_path / "photos" / "001.png").unlink()
    assert main([str(sink), str(picture), "--columns", "1"]) == 0
    missing = [[pixels is NOTHING for pixels in photos] for photos, _ in drawn]
    assert missing == [[False, False, True], [True, True, False], [False, False, False]]
    labels = [label for _, label in drawn]
    assert "not a supported image" in labels[0] and "the input cannot be shown: " in labels[1]
    assert labels[2].startswith("002.png  96x80  1 window")
    with Image.open(picture) as sheet:
        assert sheet.width >= CELL_PX


def test_first_results_by_name_are_drawn_and_no_others(tmp_path, drawn):
    rows = [Record(f"{index:03}.png", "ok", run_id="r", input_uri=f"/{index}") for index in range(20)]
    rows += [Record(".png", "failed", "read", "OSError", "gone")]
    (tmp_path / "manifest").mkdir()
    pq.write_table(to_table(rows[::-1]), tmp_path / "manifest" / "part-00000000.parquet")
    assert main([str(tmp_path), str(tmp_path / "sheet.png"), "--count", "3"]) == 0
    assert [label.split()[0] for _, label in drawn] == ["000.png", "001.png", "002.png"]


def test_what_is_no_sink_is_one_line_and_exit_code_2(tmp_path, capsys, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (tmp_path / "manifest").mkdir()
    rows = to_table([Record("a.png", "failed", "read", "OSError", "gone")])
    pq.write_table(rows, tmp_path / "manifest" / "part-00000000.parquet")
    picture = str(tmp_path / "a.png")
    assert main([str(tmp_path / "nothing"), picture]) == 2
    assert main([str(tmp_path), picture]) == 2
    assert main(["s3://bucket/sink", picture, "--storage", "endpoint_url=http://127.0.0.1:9"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3 and "no manifest with rows" in errors[0] and "no result with status ok" in errors[1]
    assert "set AWS_ACCESS_KEY_ID" in errors[2]
