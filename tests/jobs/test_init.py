"""A configuration written from nothing, edited, and used."""

import re

import pytest

from jobs.configuration.load import load_config
from jobs.init import main
from pipeline.config.job import JobConfig
from tests.conftest import ROOT

BASE = ROOT / "conf" / "inpaint.yaml"


def test_written_file_is_the_base_configuration(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([]) == 0
    assert (tmp_path / "inpaint.yaml").read_text() == BASE.read_text()
    assert load_config("inpaint.yaml", []) == JobConfig()
    assert "moebius plan inpaint.yaml" in capsys.readouterr().out


def test_keys_to_set_first_are_marked():
    marked = [line.strip().split(":")[0] for line in BASE.read_text().splitlines() if "# SET:" in line]
    sections = re.findall(r"^(\w+):(?:(?!\n\w).)*?# SET:", BASE.read_text(), re.DOTALL | re.MULTILINE)
    assert list(zip(sections, marked, strict=True)) == [
        ("source", "uri"),
        ("mask", "uri"),
        ("model", "weights"),
        ("sink", "uri"),
    ]


def test_existing_file_is_replaced_only_by_force(tmp_path, capsys):
    path = tmp_path / "new" / "mine.yaml"
    assert main([str(path)]) == 0
    path.write_text("mine")
    assert main([str(path)]) == 2
    assert capsys.readouterr().err == f"moebius: {path} exists; --force replaces it\n"
    assert path.read_text() == "mine"
    assert main([str(path), "--force"]) == 0 and path.read_text() == BASE.read_text()


@pytest.mark.parametrize("place", ["/proc/none/a.yaml", "."])
def test_place_that_cannot_be_written_is_one_line(place, capsys):
    assert main([place, "--force"]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith(f"moebius: cannot write {place}: ") and errors.count("\n") == 1
