"""C sources compiled for the machine that they run on, once per machine, and cached."""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

TIMEOUT_S = 120
_FLAGS = ["-O3", "-shared", "-fPIC"]


def load_library(folder: Path, sources: tuple[str, ...], headers: tuple[str, ...], flags: list[str]) -> ctypes.CDLL:
    """Load a library, and compile it before if it is not in the cache.

    Args:
        folder: of its files.
        sources, headers: their names.
        flags: of the compiler, besides those of every library.

    Raises:
        OSError: there is no C compiler, it fails, or its library cannot be loaded.
    """
    command = [*_compiler(), *_FLAGS, *flags]
    told = [*(part.encode() for part in (*command, *platform.libc_ver(), _processor()))]
    told += [(folder / name).read_bytes() for name in (*headers, *sources)]
    kept = cache_folder() / f"{hashlib.sha256(b'-'.join(told)).hexdigest()[:32]}.so"
    return _loaded(kept) or _compiled([*command, *(str(folder / name) for name in sources)], kept)


def cache_folder() -> Path:
    """Return the folder of this user's libraries; weights are never put there, so nothing that comes with them runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "moebius-kernels"


def _compiler() -> list[str]:
    """Return the command of ``$CC``, else of the first C compiler that is found."""
    try:
        named = shlex.split(os.environ.get("CC", ""))
    except ValueError as error:
        raise OSError(f"CC is no command: {error}") from error
    found = [path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))]
    if not named and not found:
        raise FileNotFoundError("there is no C compiler; install gcc")
    return named or found[:1]


def _processor() -> str:
    """Identify the processor and its instruction set."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(
        sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))})
    )


def _loaded(library: Path) -> ctypes.CDLL | None:
    """Load a cached library if only this user and root could have written it and it fits this system."""
    try:
        found = [library.stat(), library.parent.stat()]
        if all(status.st_uid in (os.getuid(), 0) and not status.st_mode & 0o022 for status in found):
            return ctypes.CDLL(str(library))
    except OSError:  # none, cut off, or of another system
        pass
    return None


def _compiled(command: list[str], to: Path) -> ctypes.CDLL:
    """Compile a library, cache it and load it."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, to.name)
        try:
            subprocess.run(
                [*command, "-o", str(made), "-lm"], check=True, capture_output=True, text=True, timeout=TIMEOUT_S
            )
        except subprocess.CalledProcessError as error:
            raise OSError(f"{command[0]} fails: {error.stderr.strip()[:500]}") from error
        except subprocess.TimeoutExpired as error:
            raise OSError(f"{command[0]} takes more than {TIMEOUT_S} s") from error
        _keep(made, to)
        return _loaded(to) or ctypes.CDLL(str(made))


def _keep(made: Path, to: Path) -> None:
    """Move a library into the cache in one step; where that is not writable, the next process compiles again."""
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        to.parent.chmod(0o755)  # whatever the umask
        with tempfile.TemporaryDirectory(dir=to.parent) as folder:
            copy = shutil.copyfile(made, Path(folder, to.name))
            copy.chmod(0o644)
            os.replace(copy, to)
    except OSError:
        return
