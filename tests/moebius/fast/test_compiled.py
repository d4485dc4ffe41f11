"""Compiling the C kernels: once on a machine, kept for this user alone, and what is said where it fails."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("cc"), reason="needs Linux and a C compiler"
)

COUNT = """
import subprocess
import sys
from moebius.fast.cpu import autoencoder, compiled
count, run = 0, subprocess.run
def counted(*arguments, **named):
    global count
    count += 1
    return run(*arguments, **named)
subprocess.run = counted
try:
    compiled.kernels()
except OSError as error:
    print(error)
else:
    print("compiled", count)
"""


def compile_in(home: Path, **environment: str) -> str:
    environment = os.environ | {"XDG_CACHE_HOME": str(home)} | environment
    command = [sys.executable, "-c", COUNT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, umask=0o002)
    return done.stdout.strip()


def test_kernels_are_compiled_once_and_only_those_of_this_user_are_trusted(tmp_path):
    home = tmp_path / "home"
    assert [compile_in(home) for _ in range(2)] == ["compiled 1", "compiled 0"]
    (kept,) = (home / "moebius-kernels").iterdir()
    kept.chmod(0o777)
    kept.write_bytes(b"planted")
    assert compile_in(home) == "compiled 1"
    assert kept.stat().st_mode & 0o022 == 0 and kept.read_bytes().startswith(b"\x7fELF")
    assert compile_in(home) == "compiled 0"
    kept.write_bytes(b"")  # the machine went down
    assert [compile_in(home) for _ in range(2)] == ["compiled 1", "compiled 0"]
    file = tmp_path / "file"
    file.touch()
    assert compile_in(file) == "compiled 1"  # nowhere to keep them


def test_what_the_compiler_says_is_told(tmp_path):
    assert "there is no C compiler; install gcc" in compile_in(tmp_path / "home", PATH="", CC="")
    assert "no-such-compiler" in compile_in(tmp_path / "home", CC="no-such-compiler")
    assert "false fails" in compile_in(tmp_path / "home", CC="false")
    assert "CC is no command" in compile_in(tmp_path / "home", CC="'gcc")
    assert compile_in(tmp_path / "home", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0") == "compiled 1"
