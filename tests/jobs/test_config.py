"""The effective configuration as it is printed, and the reference page."""

import re

import pytest
import yaml

from jobs.config import main
from jobs.configuration.load import load_config
from tests.conftest import ROOT

FILES = {path.name: yaml.safe_load(path.read_text()) for path in (ROOT / "conf").glob("*.yaml")}
PROFILES = sorted(name for name, keys in FILES.items() if "mode" not in keys)  # others are of training


@pytest.mark.parametrize("profile", PROFILES)
def test_printed_configuration_is_the_configuration(profile, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "")
    path = str(ROOT / "conf" / profile)
    assert main([path, "mask.template={dir}{stem}: #1.png"]) == 0
    printed = capsys.readouterr().out
    assert all(" # " in line for line in printed.splitlines() if line.startswith("  "))
    (tmp_path / "printed.yaml").write_text(printed)
    expected, found = (
        load_config(path, ["mask.template={dir}{stem}: #1.png"]),
        load_config(f"{tmp_path}/printed.yaml", []),
    )
    assert {**vars(found), "storage": None} == {**vars(expected), "storage": None}


def test_storage_options_are_hidden_and_the_address_of_the_environment_is_told(capsys, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert main([str(ROOT / "conf/inpaint.yaml"), "storage.secret=hunter2"]) == 0
    printed = capsys.readouterr().out
    assert "hunter2" not in printed and yaml.safe_load(printed)["storage"] == {"secret": "***"}
    assert re.search(r"address: 10\.0\.0\.1:6379 +# environment RAY_ADDRESS", printed)


def test_reference_page_is_up_to_date(capsys):
    assert main(["--reference"]) == 0
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text()
    assert page == capsys.readouterr().out, "run `moebius config --reference > docs/reference/configuration.md`"
    assert all(line.rstrip(" |").count("|") >= 2 for line in page.splitlines() if line.startswith("| `"))
