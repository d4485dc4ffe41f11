"""``parquet``: a data set in a folder, on a disk or in a bucket."""

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import IO, Any

from pipeline.export.base import foreign
from pipeline.export.image_dataset import CARD, ImageDataset
from pipeline.export.parquet_files import FOLDER, DataFile
from pipeline.manifest.lease import Lease
from pipeline.storage.storage import Storage

READ_BYTES = 4 << 20  # of a file at once
_OWN_FILE = re.compile(rf"{FOLDER}/[0-9a-f]{{16}}-\d{{6,}}\.parquet")


class FolderStore:
    """A data set in a folder; see :class:`pipeline.export.image_dataset.Store`."""

    def __init__(self, storage: Storage) -> None:
        self.storage, self.title = storage, str(storage)
        self.lease = Lease(storage, f"export-{uuid.uuid4().hex[:6]}")

    def read_card(self) -> str | None:
        """Read the card; without one the folder must be empty, but for remains of a killed export."""
        try:
            return self.storage.read(CARD).decode()
        except FileNotFoundError:
            others = (file.key for file in self.storage.list_files() if not file.key.startswith("."))
            if other := next((key for key in others if not _OWN_FILE.fullmatch(key)), None):
                raise foreign(self.title, f"{other}, but no export") from None
            return None

    def open(self, name: str) -> IO[bytes]:
        """Open a file."""
        return self.storage.open(name, READ_BYTES)

    def put(self, name: str, path: str) -> None:
        """Copy a file into the folder; no card lists it yet."""
        self.storage.upload(name, path)

    def commit(self, card: str, added: Sequence[DataFile], removed: Sequence[str]) -> str:
        """Replace the card, then delete all data files that it does not list."""
        from pipeline.export.image_dataset import parse_card

        self.lease.check()
        self.storage.write(CARD, card.encode())
        listed = parse_card(card)
        assert listed is not None
        self.clear(listed.files)
        return listed.stamp.version

    def clear(self, listed: Sequence[str]) -> None:
        """Delete data files that are not listed: replaced ones, and remains of killed exports."""
        wanted = {*listed}
        for file in list(self.storage.list_files(FOLDER)):
            if _OWN_FILE.fullmatch(file.key) and file.key not in wanted:
                self.lease.check()
                self.storage.delete(file.key)
        self.storage.clear_staging()


class ParquetFolder(ImageDataset):
    """A data set in a folder; see :class:`pipeline.export.base.Target`."""

    def __init__(self, uri: str, options: Mapping[str, Any]) -> None:
        self.folder = FolderStore(Storage(uri, options))
        super().__init__(self.folder)

    def __enter__(self) -> "ParquetFolder":
        self.folder.lease.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.folder.lease.release()

    def purge(self) -> None:
        """Delete remains of killed exports; a folder has no earlier versions."""
        if self.listed:
            self.folder.clear(self.listed.files)
