from argparse import Namespace

import pyarrow.parquet as pq

from jobs import forget, vacuum
from jobs.cli.sink import opened_sink
from jobs.report import main
from pipeline.records import Record, to_table


def test_report_is_written_where_it_is_wanted(tmp_path, capsys):
    (tmp_path / "out" / "manifest").mkdir(parents=True)
    rows = to_table([Record(sample_id="a.png", status="failed", error_stage="read", error_type="OSError")])
    pq.write_table(rows, tmp_path / "out" / "manifest" / "part-00000000.parquet")
    page = tmp_path / "pages" / "a.html"
    assert main([str(tmp_path / "out"), "--output", str(page), "--samples", "0"]) == 0
    assert b"OSError" in page.read_bytes() and b"<article" not in page.read_bytes()
    assert f"report: {page}, 0.0 MB" in capsys.readouterr().out
    assert main([str(tmp_path / "out")]) == 0
    assert b"<article" in (tmp_path / "out" / "report.html").read_bytes()


def test_configuration_stands_for_its_sink_and_storage(tmp_path, capsys):
    (tmp_path / "out" / "manifest").mkdir(parents=True)
    rows = to_table([Record(sample_id="a.png", status="failed", error_stage="read", error_type="OSError")])
    pq.write_table(rows, tmp_path / "out" / "manifest" / "part-00000000.parquet")
    config = tmp_path / "job.yaml"
    config.write_text(f"sink: {{uri: {tmp_path}/out}}\nstorage: {{auto_mkdir: true}}\n")
    assert main([str(config)]) == 0
    assert f"report: {tmp_path}/out/report.html" in capsys.readouterr().out
    assert vacuum.main([str(config)]) == 0 and "0 files" in capsys.readouterr().out
    assert forget.main([str(config), "a.png"]) == 0 and f"later runs on {tmp_path}/out" in capsys.readouterr().out
    assert main([str(tmp_path / "none.yaml")]) == 2
    assert "no configuration file" in capsys.readouterr().err
    assert opened_sink(Namespace(sink=str(config), storage=["x=1"]))[1] == {"auto_mkdir": True, "x": "1"}
    (tmp_path / "folder.yaml").mkdir()  # a sink may be called so
    assert opened_sink(Namespace(sink=str(tmp_path / "folder.yaml"), storage=[]))[0].root.endswith("folder.yaml")


def test_wrong_sink_is_one_line_and_exit_code_2(tmp_path, capsys):
    assert main([str(tmp_path / "nothing")]) == 2
    assert main([str(tmp_path), "--samples", "-1"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2 and "no manifest with rows" in errors[0] and "--samples must not be" in errors[1]
