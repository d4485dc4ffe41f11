"""The folder of a training run on an object store: processes work in local ones, the first copies what it writes."""

import os
from pathlib import Path

from moebius.train.checkpoints import CHECKPOINT
from pipeline.storage.storage import Storage

RESUMED = (CHECKPOINT, "losses.csv", "validation.csv")


class RemoteFolder:
    """Copies between a local folder and its remote counterpart.

    Objects are replaced whole, and the checkpoint is copied last: a run that is killed in between takes the steps since
    the checkpoint before again.

    Args:
        storage: the remote folder.
        local: the local one.
    """

    def __init__(self, storage: Storage, local: Path) -> None:
        self.storage, self.local = storage, local
        self._sent: dict[str, tuple[int, int]] = {}  # size and time of change, by key

    def fetch(self) -> None:
        """Fetch what a run resumes from, where there is any."""
        self.local.mkdir(parents=True, exist_ok=True)
        for name in RESUMED:
            try:
                with self.storage.open(name) as remote, (self.local / name).open("wb") as file:
                    while block := remote.read(16 << 20):
                        file.write(block)
            except FileNotFoundError:
                (self.local / name).unlink(missing_ok=True)

    def publish(self) -> None:
        """Copy the files that have changed.

        Raises:
            OSError: the storage does not answer.
        """
        paths = [path for path in self.local.rglob("*") if path.is_file() and path.suffix != ".partial"]
        for path in sorted(paths, key=lambda path: (path.name == CHECKPOINT, path)):
            key, status = path.relative_to(self.local).as_posix(), os.stat(path)
            mark = (status.st_size, status.st_mtime_ns)
            if self._sent.get(key) != mark:
                self.storage.upload(key, str(path))
                self._sent[key] = mark
