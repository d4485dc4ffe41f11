"""Jobs run from a folder that has modules of the same names as ours."""

import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from tests.conftest import ROOT, make_photos
from tests.joined_cluster import DRIVER, plain_environment

COMMAND = "import sys; from jobs.__main__ import main; sys.exit(main())"
THEIRS = "raise RuntimeError('a module of the user')"


@pytest.fixture
def working_directory(tmp_path):
    """A folder with files and packages whose names are those of our packages."""
    for name in ("pipeline", "jobs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(THEIRS)
    (tmp_path / "moebius.py").write_text(THEIRS)
    return tmp_path


@pytest.mark.parametrize("place", ["local", pytest.param("joined", marks=pytest.mark.slow)])
def test_modules_in_the_working_directory_do_not_replace_ours(place, working_directory, tiny_weights, request):
    address = "local" if place == "local" else request.getfixturevalue("joined_cluster").address
    make_photos(working_directory / "data", count=1)
    script = working_directory / "bin" / "moebius"  # as an installed command: its folder is first in the driver's path
    script.parent.mkdir()
    script.write_text(COMMAND)
    settings = {
        "source.uri": "data/photos",
        "mask.uri": "data/masks",
        "sink.uri": "out",
        "model.weights": tiny_weights,
        "model.steps": 2,
        "run.address": address,
        "limits.stall_s": 10,
    }
    job = [sys.executable, str(script), "inpaint", str(ROOT / "conf" / "inpaint.yaml")]
    result = subprocess.run(
        [*job, *(f"{key}={value}" for key, value in settings.items())],
        cwd=working_directory,
        env={**plain_environment(), **DRIVER},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert result.returncode == 0, result.stderr
    assert pq.read_table(working_directory / "out" / "manifest")["status"].to_pylist() == ["ok"]
