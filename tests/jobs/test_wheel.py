"""The wheel holds every module and every file that they read."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytest.importorskip("setuptools", reason="builds the wheel")
PACKAGES = ("moebius", "pipeline", "jobs")


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The content of a wheel, built without a trace in the source tree."""
    folder = tmp_path_factory.mktemp("wheel")
    steps = ["egg_info", "-e", folder, "build", "-b", folder / "build", "bdist_wheel", "-d", folder]
    setup = [sys.executable, "-c", "from setuptools import setup; setup()", "-q", *steps]
    subprocess.run(setup, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "installed")
    return folder / "installed"


def test_wheel_holds_every_file_of_the_packages(installed):
    files = {path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()}
    assert not {path for path in files if path.parent.name != "__pycache__" and not (installed / path).is_file()}


def test_installed_command_writes_a_configuration_and_plans_by_it(installed, tmp_path):
    def moebius(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "jobs", *arguments]
        env = {**os.environ, "PYTHONPATH": str(installed)}
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    assert moebius("--version").stdout == "moebius 0.1.0\n"
    assert moebius("init").returncode == 0
    photos = ROOT / "tests" / "photos"
    places = [f"source.uri={photos / 'images'}", f"mask.uri={photos / 'masks'}", "source.pattern=[hw]*.jpg"]
    plan = moebius("plan", "inpaint.yaml", *places)
    assert plan.returncode == 0 and "missing masks:  0" in plan.stdout, plan.stderr
