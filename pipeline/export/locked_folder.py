"""A folder or bucket that one export writes at a time."""

import os
import uuid
from typing import Self

from pipeline.manifest.lease import Lease
from pipeline.storage.errors import usable
from pipeline.storage.storage import Storage


class LockedFolder:
    """A folder that exists and is leased inside ``with``.

    Args:
        storage: the folder.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.lease = Lease(storage, f"export-{uuid.uuid4().hex[:6]}")

    def __enter__(self) -> Self:
        if self.storage.is_local:
            with usable(f"TARGET: cannot write to {self.storage}"):
                os.makedirs(self.storage.root, exist_ok=True)
        self.lease.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.lease.release()
