"""The manifest: a log of Parquet parts, each created exclusively under the next number.

A part is the only commit there is. Two writers that saw the same state race for the same number: object stores (by
conditional PUT) and local disks (by hard link) let one of them win, and the other learns it before anything is wrong.
A later row of a sample replaces an earlier one; ``compact`` then writes all current rows as one part that says it
replaces everything before it, and deletes the parts before it. Whoever finds both knows which to ignore.
"""

import re
import uuid

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.records import MANIFEST_SCHEMA
from pipeline.storage import Storage

FOLDER = "manifest"
_PART = re.compile(rf"{FOLDER}/part-(\d{{8}})\.parquet\Z")
LOAD_TRIES = 5
_COMMIT, _SNAPSHOT = b"moebius.commit", b"moebius.snapshot"


class ManifestConflictError(RuntimeError):
    """Another run wrote to the same sink since this one read it."""


class Manifest:
    """The manifest of one sink, as this process last saw it."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._parts: dict[str, int] = {}  # keys of current parts, with their rows
        self._stale: list[str] = []  # parts that a snapshot replaces, left behind by a crash
        self._next_number = 0

    def load(self, columns: list[str] | None = None) -> pa.Table:
        """Read every current row, one a sample; ``columns`` must hold ``sample_id``."""
        for _ in range(LOAD_TRIES):
            try:
                return self._load(columns)
            except FileNotFoundError:
                continue  # another run has replaced parts between listing and reading
        raise ManifestConflictError(f"another run keeps replacing the manifest of {self.storage}")

    def append(self, rows: pa.Table, snapshot: bool = False) -> None:
        """Commit rows; they count from the moment this returns, also if the process dies right after.

        Raises:
            ManifestConflictError: another run has written since this one read.
        """
        if rows.num_rows == 0 and not snapshot:
            return
        commit = uuid.uuid4().hex.encode()
        metadata = {_COMMIT: commit} | ({_SNAPSHOT: b"1"} if snapshot else {})
        buffer = pa.BufferOutputStream()
        pq.write_table(rows.replace_schema_metadata(metadata), buffer, compression="zstd")
        key = f"{FOLDER}/part-{self._next_number:08d}.parquet"
        try:
            self.storage.create(key, buffer.getvalue().to_pybytes())
        except FileExistsError:
            # A retried request may meet its own first attempt, whose answer was lost.
            if self._commit_of(key) != commit:
                raise self._conflict(key) from None
        if max(self._numbers().values()) > self._next_number:
            # The number was free only because another run has replaced it by a snapshot; nobody will read this part.
            self.storage.delete(key)
            raise self._conflict(key)
        self._parts[key] = rows.num_rows
        self._next_number += 1

    def compact(self, max_parts: int = 16) -> None:
        """Bring the manifest back to one row a sample in few files, where that is not so already."""
        rows = self.load()
        if sum(self._parts.values()) > rows.num_rows or len(self._parts) > max_parts:
            replaced = list(self._parts)
            self.append(rows, snapshot=True)
            self._stale += replaced
        for key in self._stale:
            self.storage.delete(key)
        self._stale = []

    def _load(self, columns: list[str] | None) -> pa.Table:
        numbers = self._numbers()
        self._next_number = max(numbers.values(), default=-1) + 1
        tables: list[pa.Table] = []
        self._parts, self._stale = {}, []
        for key in sorted(numbers):
            part = pq.read_table(pa.BufferReader(self.storage.read(key)), columns=columns)
            if _SNAPSHOT in (part.schema.metadata or {}):
                self._stale += self._parts
                self._parts, tables = {}, []
            self._parts[key] = part.num_rows
            tables.append(part.replace_schema_metadata(None))
        if not tables:
            return MANIFEST_SCHEMA.empty_table().select(columns or MANIFEST_SCHEMA.names)
        return _last_of_each(pa.concat_tables(tables))

    def _numbers(self) -> dict[str, int]:
        keys = (file.key for file in self.storage.list_files(FOLDER))
        return {key: int(part[1]) for key in keys if (part := _PART.match(key))}

    def _commit_of(self, key: str) -> bytes | None:
        try:
            return pq.read_schema(pa.BufferReader(self.storage.read(key))).metadata.get(_COMMIT)
        except FileNotFoundError:
            return None

    def _conflict(self, key: str) -> ManifestConflictError:
        return ManifestConflictError(
            f"another run is writing to {self.storage} (it created {key}); wait for it or stop it, then start this one "
            "again: it goes on from there"
        )


def _last_of_each(rows: pa.Table) -> pa.Table:
    """The last row of each sample, in order of first commit of what remains."""
    positions = pa.array(range(rows.num_rows), pa.int64())
    last = pa.table({"sample_id": rows["sample_id"], "position": positions}).group_by("sample_id")
    return rows.take(last.aggregate([("position", "max")])["position_max"].combine_chunks().sort())
