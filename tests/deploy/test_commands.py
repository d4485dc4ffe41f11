"""Every command in deploy/ names a configuration that exists and keys and values that it takes."""

import re
import shlex
from pathlib import Path

import pytest

from jobs.configuration.load import load_config
from tests.conftest import ROOT
from tests.deploy.test_deploy import DEPLOY

COMMAND = re.compile(r"(?:moebius inpaint|python -m jobs\.inpaint) ((?:[^\n\\]|\\\n)+)")
VALUES = {
    "SOURCE": "s3://bucket/photos",
    "MASKS": "s3://bucket/masks",
    "SINK": "s3://bucket/clean",
    "WEIGHTS": "places2",
}
VALUES |= {"part": "part-0", "head": "10.0.0.1:6379", "head:$port": "head:6379"}
FILES = sorted(
    path
    for path in DEPLOY.rglob("*")
    if path.suffix in (".yaml", ".py", ".sbatch") and COMMAND.search(path.read_text())
)


def commands(path: Path) -> list[list[str]]:
    """Arguments of the commands in a file, with variables replaced by values."""
    text = re.sub(r"^ *#.*$", "", path.read_text(), flags=re.MULTILINE)
    found = [match[1].replace("\\\n", " ") for match in COMMAND.finditer(text)]
    for name, value in VALUES.items():
        found = [command.replace(f"${name}", value) for command in found]
    return [shlex.split(command.removesuffix(" &")) for command in found]


def test_commands_of_all_kinds_of_files_are_found():
    assert {path.parent.name for path in FILES} == {"airflow", "kuberay", "kueue", "skypilot", "slurm"}
    assert len(FILES) == 8


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_command_is_taken(path):
    found = commands(path)
    assert found
    for config, *overrides in found:
        if config == "$@":
            continue  # the arguments of the script
        assert (ROOT / config.removeprefix("/opt/moebius/")).is_file()
        load_config(str(ROOT / config.removeprefix("/opt/moebius/")), overrides)
