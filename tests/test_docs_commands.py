"""Every command that the documentation shows, as bash hands it over, is one that its parser and configuration take."""

import importlib
import re
import subprocess

import pytest

from jobs.cli.commands import COMMANDS
from jobs.configuration.load import load_config, load_training_config
from tests.conftest import ROOT

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^(?:\$ )?(moebius [a-z](?:[^\\\n]|\\\n|\\.)*)", re.MULTILINE)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHOWN = [
    (page.name, command)
    for page in PAGES
    for language, block in BLOCK.findall(page.read_text())
    for command in COMMAND.findall(block)
    if language in ("", "bash") and command.split()[1] in COMMANDS
]


def words(command: str) -> list[str]:
    """The arguments that bash makes of a line."""
    arguments = re.sub(r" > \S+ 2>&1 &$", "", command.removeprefix("moebius "))
    shown = subprocess.run(["bash", "-c", f"printf '%s\\0' {arguments}"], capture_output=True, text=True, check=True)
    return shown.stdout.split("\0")[:-1]


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """Enter a folder with the configurations and those that two pages show."""
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    page = (ROOT / "docs" / "how-to" / "operations.md").read_text()
    shown = re.search(r"```yaml\n(# nightly.yaml\n.*?)```", page, re.DOTALL)
    (tmp_path / "nightly.yaml").write_text(shown[1])
    page = (ROOT / "docs" / "tutorial" / "first-cluster-job.md").read_text()
    (tmp_path / "job.yaml").write_text(re.search(r"job.yaml <<END\n(.*?)END", page, re.DOTALL)[1])
    monkeypatch.chdir(tmp_path)


def test_there_are_commands_of_most_kinds():
    shown = {words(command)[0] for _, command in SHOWN}
    assert shown >= COMMANDS.keys() - {"init", "config", "convert", "contact-sheet"}


@pytest.mark.parametrize(("page", "command"), SHOWN, ids=[f"{page}-{number}" for number, (page, _) in enumerate(SHOWN)])
def test_command_is_taken(workplace, monkeypatch, page, command):
    name, *arguments = words(command)
    job = importlib.import_module(f"jobs.{name.replace('-', '_')}")
    at_start = importlib.import_module("jobs.cli.sink") if name in ("vacuum", "verify", "forget", "export") else job
    started = []
    monkeypatch.setattr(at_start, "run_command", lambda run, **_: started.append(run) or 0)
    assert job.main(arguments) == 0 and len(started) == 1
    overrides = [argument for argument in arguments if re.match(r"[a-z_.]+=", argument)]
    if name in ("inpaint", "plan", "preview"):
        load_config(arguments[0], overrides)
    elif name == "distill":
        load_training_config(arguments[0], overrides)
