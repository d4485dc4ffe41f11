"""Local disks: listings that follow links, and atomic writes."""

import contextlib
import ctypes
import errno
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

COPY_BYTES = 1 << 20
STAGING = ".staging"
T = TypeVar("T")


def walk(folder: str) -> Iterator[tuple[str, os.stat_result | None]]:
    """Yield files of a local folder, following links, each folder once; a dangling link has no facts."""
    entered: set[tuple[int, int]] = set()

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error  # a folder without permission is no empty folder

    for path, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        status = os.stat(path)
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        for name in names:
            full = os.path.join(path, name)
            try:
                status = os.stat(full)
            except OSError as error:
                if os.path.islink(full) and (isinstance(error, FileNotFoundError) or error.errno == errno.ELOOP):
                    yield full, None
                elif not isinstance(error, FileNotFoundError):  # else it was just deleted
                    raise
                continue
            if stat.S_ISREG(status.st_mode):
                yield full, status


class StagedFile:
    """A file on the disk of ``root``, invisible to readers until it is moved to its target.

    Args:
        root: of the storage.
        target: its final path.
        content: bytes, or the path of a file to copy.
    """

    def __init__(self, root: str, target: str, content: bytes | str) -> None:
        self.path, self.target = os.path.join(root, STAGING, uuid.uuid4().hex), target
        try:
            with _in_folder_of(self.path, lambda: open(self.path, "wb")) as file:
                if isinstance(content, bytes):
                    file.write(content)
                else:
                    with open(content, "rb") as source:
                        shutil.copyfileobj(source, file, COPY_BYTES)
        except BaseException as error:
            self._discard()
            if isinstance(error, OSError) and not error.filename:  # a full disk does not say which
                error.filename = target
            raise

    def place(self, move: Callable[[str, str], None] = os.replace, check: Callable[[], None] = lambda: None) -> None:
        """Move it to its target, by ``os.link`` if the target must not exist, unless ``check`` raises."""
        is_moved = False
        try:
            check()
            _in_folder_of(self.target, lambda: move(self.path, self.target))
            is_moved = move is os.replace
        finally:
            if not is_moved:
                self._discard()

    def _discard(self) -> None:
        with contextlib.suppress(
            OSError
        ):  # a disk that has become read-only keeps it; what failed before is the reason
            os.unlink(self.path)


def _in_folder_of(path: str, work: Callable[[], T]) -> T:
    """Run an operation on a path, and create its folder if it is missing."""
    try:
        return work()
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return work()


def sync_all(files: Sequence[StagedFile]) -> None:
    """Flush the files of one storage to the disk: many files with one call, where the system supports it.

    Each flush takes some milliseconds, for one small file or for all.
    """
    flush_disk = getattr(ctypes.CDLL(None), "syncfs", None) if len(files) > 1 else None
    for file in files:
        handle = os.open(file.path, os.O_RDONLY)
        try:
            if flush_disk and flush_disk(handle) == 0:
                return
            os.fsync(handle)
        finally:
            os.close(handle)


def clear_staging(root: str) -> None:
    """Remove temporary files of killed processes."""
    shutil.rmtree(os.path.join(root, STAGING), ignore_errors=True)
