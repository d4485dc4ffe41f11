"""The tutorial of a cluster runs as it is written, on a machine of its own: it sees no other process and no network."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "tutorial" / "first-cluster-job.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
INSTALLATION = "pip install"  # what the tests themselves rest on
ALONE = ["unshare", "--net", "--pid", "--mount", "--fork", "--mount-proc"]
PREPARE = 'mkdir -p /tmp/ray && mount --bind "$1" /tmp/ray && ip link set lo up && cd "$2" && exec bash "$3"'


@pytest.fixture
def clone(tmp_path):
    """Return a folder laid out as the repository, whose programs are those of the tests."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    programs = tmp_path / "bin"
    programs.mkdir()
    calls = {"python": "", "moebius": "-m jobs", "ray": "-m ray.scripts.scripts"}
    for name, call in calls.items():
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {call} "$@"\n')
        (programs / name).chmod(0o755)
    (programs / "weed").symlink_to(Path(sys.executable).with_name("weed"))
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_tutorial_commands_run_in_order_and_make_what_the_text_says(clone):
    if os.geteuid() or not all(map(shutil.which, ("unshare", "ip", "pgrep"))):
        pytest.skip("only root may give the cluster a network and processes of its own")
    (clone / "ray").mkdir()
    script = clone / "script"
    commands = "".join(block for block in BLOCKS if INSTALLATION not in block)
    assert "steps: 40" in commands
    script.write_text("set -eux\n" + commands.replace("steps: 40", "steps: 10"))
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "AWS_"))}
    environment = {
        **plain,
        "PATH": f"{clone / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": str(Path("~/.cache").expanduser()),  # compiled kernels
        "HOME": str(clone),
    }
    ran = subprocess.run(
        [*ALONE, "sh", "-c", PREPARE, "sh", clone / "ray", clone, script],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    shutil.rmtree("/tmp/ray-second", ignore_errors=True)  # so that its sockets have short paths
    assert ran.returncode == 0, ran.stderr
    assert "12 photos\n12 masks\n" in ran.stdout and re.search(r"^agree: +12$", ran.stdout, re.MULTILINE)
    assert "12 samples: 12 ok; 12 done in this run" in ran.stdout  # with a node less
    assert (
        len(re.findall(r"copying weights .*/own-weights \(.*\) to s3://shop/clean/weights/\w+, once", ran.stderr)) == 1
    )
    assert len(list((clone / "first-cluster" / "clean" / "data").iterdir())) == 12
    assert (clone / "first-cluster" / "sheet.png").is_file()


def test_tutorial_shows_the_lines_of_its_configuration_and_of_the_messages():
    shown = re.search(r"cat > job.yaml <<END\n(.*?)END", PAGE, re.DOTALL)[1]
    assert all(f"{section}: {{" in shown for section in ("source", "mask", "sink", "model"))
    source = (ROOT / "pipeline" / "storage" / "weights.py").read_text()
    assert "copying weights" in PAGE and "copying weights %s (%.1f MB) to %s, once" in source
