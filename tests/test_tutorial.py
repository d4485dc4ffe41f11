"""The tutorial runs as it is written, command by command, but for a tenth of the model's steps."""

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

TUTORIAL = (ROOT / "docs" / "tutorial" / "first-job.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```", TUTORIAL, re.DOTALL | re.MULTILINE)
INSTALLATION = "pip install"  # what the tests themselves rest on


@pytest.fixture
def clone(tmp_path):
    """Return a folder laid out as the repository, whose ``moebius`` and ``python`` are those of the tests."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "inpaint.yaml").symlink_to(ROOT / "conf" / "inpaint.yaml")
    demo = (ROOT / "conf" / "demo.yaml").read_text()
    assert "weights: nano" in demo
    (tmp_path / "conf" / "demo.yaml").write_text(demo.replace("weights: nano", "weights: nano, steps: 2"))
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    programs = tmp_path / "bin"
    programs.mkdir()
    module, function = re.search(
        r'^moebius = "(.+):(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    ).groups()
    calls = {"python": "", "moebius": f"-c 'import sys; from {module} import {function}; sys.exit({function}())'"}
    for name, call in calls.items():
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {call} "$@"\n')
        (programs / name).chmod(0o755)
    return tmp_path


def test_tutorial_shows_the_configuration_of_the_demo():
    shown = re.search(r"^```yaml\n(.*?)^```", TUTORIAL, re.DOTALL | re.MULTILINE)[1]
    assert shown in (ROOT / "conf" / "demo.yaml").read_text()


@pytest.mark.slow
def test_tutorial_commands_run_in_order_and_make_what_the_text_says(clone):
    environment = {**os.environ, "PATH": f"{clone / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    script = "set -eux\n" + "".join(block for block in BLOCKS if INSTALLATION not in block)
    assert "model.steps=40" in script
    script = script.replace("model.steps=40", "model.steps=4")
    ran = subprocess.run(["bash", "-c", script], cwd=clone, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    named = re.findall(r"`(out/[\w/.]+)`", TUTORIAL)
    assert len(named) > 3 and [name for name in named if not (clone / name).exists()] == []
    assert len(list((clone / "out" / "demo" / "data").iterdir())) == 12
    assert "12 samples: 12 ok; 0 done in this run" in ran.stderr
    assert "samples found:  12 (1.8 MB)" in ran.stdout and re.search(r"^agree: +12$", ran.stdout, re.MULTILINE)
