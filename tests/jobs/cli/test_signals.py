"""A closed terminal ends a command as Ctrl-C does."""

import os
import signal
import subprocess
import sys
import time

from tests.conftest import ROOT

WAIT = """
import pathlib, sys, time
from jobs.cli.execute import run_command

def wait():
    pathlib.Path(sys.argv[1], "ready").touch()
    try:
        time.sleep(float(sys.argv[2]))
    finally:
        pathlib.Path(sys.argv[1], "cleaned up").touch()
    return 0

sys.exit(run_command(wait, resumable=True))
"""


def start(folder, seconds: float, *before: str, **options) -> subprocess.Popen:
    process = subprocess.Popen([*before, sys.executable, "-c", WAIT, str(folder), str(seconds)], cwd=ROOT, **options)
    deadline = time.monotonic() + 60
    while not (folder / "ready").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    return process


def test_hang_up_ends_a_command_as_ctrl_c_does(tmp_path):
    process = start(tmp_path, 60, stderr=subprocess.PIPE, text=True)
    process.send_signal(signal.SIGHUP)
    assert process.communicate(timeout=30)[1] == "moebius: stopped; run the same command again to resume\n"
    assert process.returncode == 1 and (tmp_path / "cleaned up").exists()


def test_closed_terminal_ends_a_command_with_exit_code_1(tmp_path):
    terminal, inside = os.openpty()
    process = start(tmp_path, 60, "setsid", "--ctty", stdin=inside, stdout=inside, stderr=inside)
    os.close(inside)
    os.close(terminal)
    assert process.wait(30) == 1 and (tmp_path / "cleaned up").exists()


def test_hang_up_does_nothing_below_nohup(tmp_path):
    process = start(tmp_path, 1, "nohup", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process.send_signal(signal.SIGHUP)
    assert process.wait(30) == 0
