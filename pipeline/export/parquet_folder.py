"""``parquet``: a data set in a folder, on a disk or in a bucket."""

from collections.abc import Mapping, Sequence
from typing import IO, Any

from pipeline.export.base import State
from pipeline.export.image_dataset import CARD, ImageDataset, Listed
from pipeline.export.locked_folder import LockedFolder
from pipeline.export.parquet_files import FOLDER, OWN_FILE
from pipeline.storage.storage import Storage

READ_BYTES = 4 << 20  # of a file at once


class FolderStore(LockedFolder):
    """A data set in a folder; see :class:`pipeline.export.image_dataset.Store`."""

    @property
    def uri(self) -> str:
        """See :class:`pipeline.export.image_dataset.Store`."""
        return str(self.storage)

    def read_card(self) -> str | None:
        """Read the card."""
        try:
            return self.storage.read(CARD).decode()
        except FileNotFoundError:
            return None

    def foreign_file(self) -> str | None:
        """Return the name of a file that is neither hidden nor a remain of a killed export."""
        keys = (file.key for file in self.storage.list_files() if not file.key.startswith(".") and file.key != CARD)
        return next((key for key in keys if not OWN_FILE.fullmatch(key)), None)

    def open(self, name: str) -> IO[bytes]:
        """Open a file."""
        return self.storage.open(name, READ_BYTES)

    def put(self, name: str, path: str) -> None:
        """Copy a file into the folder; no card lists it yet."""
        self.storage.upload(name, path)

    def commit(self, card: str, listed: Listed) -> str:
        """Replace the card, then delete all data files that it does not list."""
        self.lease.check()
        self.storage.write(CARD, card.encode())
        self.clear(listed.files)
        return listed.stamp.version

    def clear(self, listed: Sequence[str]) -> None:
        """Delete data files that are not listed: replaced ones, and remains of killed exports."""
        wanted = {*listed}
        for file in list(self.storage.list_files(FOLDER)):
            if OWN_FILE.fullmatch(file.key) and file.key not in wanted:
                self.lease.check()
                self.storage.delete(file.key)
        self.storage.clear_staging()


class ParquetFolder(ImageDataset):
    """A data set in a folder; see :class:`pipeline.export.base.Target`."""

    has_versions = False

    def __init__(self, uri: str, options: Mapping[str, Any]) -> None:
        self.folder = FolderStore(Storage(uri, options))
        super().__init__(self.folder)

    def __enter__(self) -> "ParquetFolder":
        self.folder.__enter__()
        return self

    def __exit__(self, *problem: object) -> None:
        self.folder.__exit__(*problem)

    def state(self) -> State | None:
        """Return the state of the earlier export, and delete what a killed one has left beside it."""
        found = super().state()
        if self.listed:
            self.folder.clear(self.listed.files)
        return found

    def purge(self) -> None:
        """Do nothing: a folder has no earlier versions."""
