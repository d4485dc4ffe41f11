"""What local disks need and object stores do by themselves: listings with links followed, files written in one step."""

import contextlib
import os
import shutil
import stat
import uuid
from collections.abc import Iterator

COPY_BYTES = 1 << 20
STAGING = ".staging"


def walk(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Files of a local folder, links followed, each folder entered once."""
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
            with contextlib.suppress(FileNotFoundError):  # a link to nothing, or just deleted
                status = os.stat(full)
                if stat.S_ISREG(status.st_mode):
                    yield full, status


@contextlib.contextmanager
def staged(root: str, content: bytes | str) -> Iterator[str]:
    """A complete temporary file on the disk of ``root``, outside everything that readers look at; yields its path.

    Args:
        root: of the storage.
        content: bytes, or the path of a file to copy.
    """
    folder = os.path.join(root, STAGING)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, uuid.uuid4().hex)
    try:
        with open(path, "wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                with open(content, "rb") as source:
                    shutil.copyfileobj(source, file, COPY_BYTES)
            file.flush()
            os.fsync(file.fileno())
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def clear_staging(root: str) -> None:
    """Remove what killed processes left half done."""
    shutil.rmtree(os.path.join(root, STAGING), ignore_errors=True)
