"""The packages of the extras agree with pyproject.toml, and are named when they are missing."""

import re
import tomllib

import pytest

from pipeline import extras
from pipeline.errors import ConfigError
from tests.conftest import ROOT

THROUGH_OTHERS = {"torchvision", "torch-fidelity"}  # brought by torchmetrics[image]


@pytest.mark.parametrize("extra", extras.EXTRAS)
def test_packages_are_those_of_the_project(extra):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = {re.match(r"[\w-]+", line)[0] for line in project["optional-dependencies"][extra]}
    assert listed == {*extras.EXTRAS[extra].values()} - THROUGH_OTHERS


def test_missing_packages_are_named_with_the_command_that_installs_them(monkeypatch):
    monkeypatch.setitem(extras.EXTRAS, "evaluate", {"json": "present", "no_such_a": "no-a", "no_such_b": "no-b"})
    with pytest.raises(ConfigError) as error:
        extras.check_extra("evaluate", "evaluate")
    assert str(error.value) == "evaluate needs no-a and no-b: pip install -c constraints.txt -e '.[evaluate]'"
    monkeypatch.setitem(extras.EXTRAS, "evaluate", {"json": "present"})
    extras.check_extra("evaluate", "evaluate")
