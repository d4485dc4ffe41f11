"""The manifest: a log of Parquet parts, each created exclusively under the next number.

Writing a part is the only commit. Two writers that saw the same state race for the same number: object stores (by
conditional PUT) and local disks (by hard link) let exactly one succeed, and the other gets a conflict. A later row of
a sample replaces an earlier one. ``compact`` writes all current rows as a snapshot of few parts, whose last part marks
everything before as replaced, and deletes that. A reader that finds both knows which parts to ignore.
"""

import re
import uuid
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pyarrow as pa

from pipeline.database import Database
from pipeline.errors import ConfigError
from pipeline.faults.write_retries import Hold
from pipeline.manifest.parts import BATCH_ROWS, encode_part, open_part
from pipeline.records import MANIFEST_SCHEMA
from pipeline.storage.errors import FileChangedError
from pipeline.storage.storage import Storage, attempt

FOLDER = "manifest"
_PART = re.compile(rf"{FOLDER}/part-(\d{{8}})\.parquet\Z")
LOAD_TRIES = 5
REQUESTS = 16  # under way at once
SNAPSHOT_ROWS = 250_000  # in one part
_COMMIT, _SNAPSHOT, _COMPLETE = b"moebius.commit", b"moebius.snapshot", b"moebius.snapshot-complete"
_FENCE = b"moebius.fence"
_POSITION = [pa.field("part", pa.int64()), pa.field("position", pa.int64())]


class ManifestConflictError(RuntimeError):
    """Another run has written to the sink since this one read it."""


class Manifest:
    """The manifest of one sink, as last read by this process."""

    def __init__(self, storage: Storage, hold: Hold | None = None) -> None:
        self.storage, self.hold = storage, hold or Hold()
        self._parts: list[str] = []  # keys of current parts, in order
        self._stale: list[str] = []  # parts that a snapshot replaces, or of one that was never finished
        self._snapshot_parts = 0  # how many of the current parts are those of a snapshot
        self._is_unique = True  # as far as is known without another look
        self._next_number = 0
        self._layouts: set[tuple[str, ...]] = set()  # columns of current parts; several after an upgrade

    def load(self, columns: list[str] | None = None) -> pa.Table:
        """Read the current rows, one per sample, into memory; ``columns`` must contain ``sample_id``."""
        with Database() as database:
            self.load_into(database, columns or MANIFEST_SCHEMA.names)
            query = "SELECT * EXCLUDE (part, position) FROM rows ORDER BY part, position"
            tables = list(database.stream(query, SNAPSHOT_ROWS))
        schema = pa.schema([MANIFEST_SCHEMA.field(name) for name in columns or MANIFEST_SCHEMA.names])
        return pa.concat_tables(tables).cast(schema) if tables else schema.empty_table()

    def load_into(self, database: Database, columns: list[str]) -> None:
        """Create the table ``rows`` of current rows, one per sample; ``columns`` must contain ``sample_id``.

        The table ``replaced`` holds rows that later rows of their samples replace and that no snapshot has dropped yet.

        Raises:
            DamagedManifestError: a part cannot be read.
            ManifestConflictError: another run replaces parts again and again.
        """
        for _ in range(LOAD_TRIES):
            try:
                self._find_parts()
                schema = pa.schema([MANIFEST_SCHEMA.field(name) for name in columns] + _POSITION)
                database.create("rows", schema, self._scan(schema))
                break
            except (FileNotFoundError, FileChangedError):
                continue  # another run has replaced parts between listing and reading
        else:
            raise ManifestConflictError(f"another run keeps replacing the manifest of {self.storage}")
        database.run("CREATE OR REPLACE TABLE replaced AS FROM rows LIMIT 0")
        if len(self._parts) > 1:
            superseded = f"FROM rows JOIN ({_REPEATED}) AS repeated ON {_SUPERSEDED}"
            database.run(f"INSERT INTO replaced SELECT rows.* {superseded}")
            same_row = "rows.part = replaced.part AND rows.position = replaced.position"
            database.run(f"DELETE FROM rows USING replaced WHERE {same_row}")
        self._is_unique = not database.run("SELECT 1 FROM replaced LIMIT 1")

    def append(self, rows: pa.Table, marks: dict[bytes, bytes] | None = None) -> None:
        """Commit rows; they are durable when this returns.

        Raises:
            ManifestConflictError: another run has written since this one read.
            ConfigError: the storage does not list what was written.
        """
        if rows.num_rows == 0 and not marks:
            return
        commit = uuid.uuid4().hex.encode()
        rows = rows.replace_schema_metadata({_COMMIT: commit} | (marks or {}))
        key = f"{FOLDER}/part-{self._next_number:08d}.parquet"
        create = partial(self._create, key, encode_part(rows))
        fault = self.hold.retry(create, create(), self.storage.is_local)
        # A repeated request may meet its own first attempt, whose answer was lost.
        if isinstance(fault, FileExistsError) and self._commit_of(key) != commit:
            raise self._conflict(key)
        if fault and not isinstance(fault, FileExistsError):
            raise fault
        if max(self._numbers(key).values(), default=-1) > self._next_number:
            self._withdraw(key)
            raise self._conflict(key)
        self._parts.append(key)
        self._layouts.add(tuple(rows.column_names))
        self._is_unique = len(self._parts) == 1
        self._next_number += 1

    def _create(self, key: str, data: bytes) -> Exception | None:
        return attempt(self.storage.create, key, data)[1]

    def compact(self, max_parts: int = 16) -> None:
        """Rewrite the manifest as one row per sample in few files with equal columns, if it is not so already."""
        superseded = {} if self._is_unique else self._dropped()
        if superseded or len(self._layouts) > 1 or len(self._parts) > max_parts + self._snapshot_parts:
            self._write_snapshot(superseded)
        self._delete_stale()

    def remove(self, sample_ids: Collection[str]) -> None:
        """Rewrite the manifest without the rows of some samples, and delete the parts that held them."""
        self._write_snapshot(self._dropped(sample_ids))
        self._delete_stale()

    def check(self) -> None:
        """Check that no other run has written since the last read, before deleting files that rows may name.

        Raises:
            ManifestConflictError: another run has.
        """
        newest, number = max(self._numbers().items(), key=lambda part: part[1], default=("", -1))
        if number >= self._next_number:
            raise self._conflict(newest)

    def fence(self) -> None:
        """Make the next commit of every other run that has read this manifest a conflict."""
        self.append(MANIFEST_SCHEMA.empty_table(), {_FENCE: b"1"})

    def exists(self) -> bool:
        """Whether there is any part."""
        return bool(self._numbers())

    @property
    def stale(self) -> list[str]:
        """Keys of replaced parts, as of the last read."""
        return list(self._stale)

    def _write_snapshot(self, dropped: dict[int, np.ndarray]) -> None:
        """Write all rows except the dropped positions of each part as parts that replace all others."""
        replaced, snapshot = list(self._parts), uuid.uuid4().hex.encode()
        pieces = self._pieces(dropped)
        piece = next(pieces, MANIFEST_SCHEMA.empty_table())
        for following in pieces:
            self.append(piece, {_SNAPSHOT: snapshot})
            piece = following
        self.append(piece, {_SNAPSHOT: snapshot, _COMPLETE: b"1"})
        self._stale += replaced
        self._parts = self._parts[len(replaced) :]
        self._layouts = {tuple(MANIFEST_SCHEMA.names)}
        self._snapshot_parts = len(self._parts)
        self._is_unique = True

    def _delete_stale(self) -> None:
        for key in self._stale:
            self.storage.delete(key)
        self._stale = []

    def _find_parts(self) -> None:
        """Find the current parts: those of the last complete snapshot and all single ones after it."""
        numbers = self._numbers()
        keys = sorted(numbers)
        with ThreadPoolExecutor(REQUESTS) as threads:
            schemas = dict(zip(keys, threads.map(self._schema, keys), strict=True))
        self._parts, self._snapshot_parts = [], 0
        pieces: dict[bytes, list[str]] = {}
        for key, schema in schemas.items():
            mark = schema.metadata or {}
            snapshot = mark.get(_SNAPSHOT)
            if snapshot is None:
                self._parts.append(key)
                continue
            pieces.setdefault(snapshot, []).append(key)
            if _COMPLETE in mark:
                self._parts = pieces.pop(snapshot)
                self._snapshot_parts = len(self._parts)
        if not self._snapshot_parts and (oldest := next((found for found in pieces.values() if keys[0] in found), [])):
            # What a snapshot replaces is deleted only when it is complete, so its last part was lost since.
            self._parts, self._snapshot_parts = oldest + self._parts, len(oldest)
        self._stale = sorted(set(keys) - set(self._parts))
        self._layouts = {tuple(schemas[key].names) for key in self._parts}
        self._next_number = max(numbers.values(), default=-1) + 1

    def _scan(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Rows of all current parts, with part and position of each."""
        for number, key in enumerate(tuple(self._parts)):  # not those that a snapshot adds meanwhile
            start = 0
            with open_part(self.storage, key) as part:
                for batch in part.iter_batches(BATCH_ROWS, columns=schema.names[: -len(_POSITION)]):
                    position = [pa.array(np.full(len(batch), number)), pa.array(np.arange(start, start + len(batch)))]
                    start += len(batch)
                    yield pa.record_batch([*_columns(batch, schema), *position], schema=schema)

    def _dropped(self, sample_ids: Collection[str] = ()) -> dict[int, np.ndarray]:
        """Return positions, by part, of rows that a later part replaces, and of rows of some samples."""
        with Database() as database:
            schema = pa.schema([MANIFEST_SCHEMA.field("sample_id"), *_POSITION])
            database.create("rows", schema, self._scan(schema))
            found = database.run(
                f"SELECT part, list(position) FROM rows LEFT JOIN ({_REPEATED}) AS repeated ON {_SUPERSEDED} "
                "WHERE repeated.last IS NOT NULL OR list_contains($removed, rows.sample_id) GROUP BY part",
                {"removed": list(sample_ids)},
            )
        return {part: np.array(positions) for part, positions in found}

    def _pieces(self, dropped: dict[int, np.ndarray]) -> Iterator[pa.Table]:
        """Yield all rows except the dropped ones, in tables of bounded size."""
        waiting: list[pa.RecordBatch] = []
        for batch in self._scan(pa.schema([*MANIFEST_SCHEMA, *_POSITION])):
            part, positions = batch["part"][0].as_py(), batch["position"].to_numpy()
            kept = ~np.isin(positions, dropped.get(part, []))
            waiting.append(batch.filter(pa.array(kept)).select(MANIFEST_SCHEMA.names))
            if sum(map(len, waiting)) >= SNAPSHOT_ROWS:
                yield pa.Table.from_batches(waiting)
                waiting = []
        if waiting:
            yield pa.Table.from_batches(waiting)

    def _numbers(self, *written: str) -> dict[str, int]:
        """Return the numbers of the parts in the storage, by key.

        Args:
            written: keys of parts that this process has just written.

        Raises:
            ConfigError: the storage does not list known parts although no later ones exist.
        """
        keys = (file.key for file in self.storage.list_files(FOLDER))
        numbers = {key: int(part[1]) for key in keys if (part := _PART.match(key))}
        missing = next((key for key in (*self._parts, *written) if key not in numbers), None)
        if missing and max(numbers.values(), default=-1) < self._next_number:
            raise ConfigError(
                f"sink.uri: {self.storage} does not list {missing}, which was there before: its listings must show at "
                "once what was written (read-after-write consistency), or rows could be lost or duplicated unnoticed; "
                "choose another storage for the sink, unless somebody has deleted that file"
            )
        return numbers

    def _withdraw(self, key: str) -> None:
        """Delete a part whose number was free only because a snapshot of another run had replaced it.

        If the other run has read the part before continuing, the part is kept.
        """
        seen = Manifest(self.storage)
        seen._find_parts()
        if key in seen.stale:
            self.storage.delete(key)

    def _schema(self, key: str) -> pa.Schema:
        with open_part(self.storage, key) as part:
            return part.schema_arrow

    def _commit_of(self, key: str) -> bytes | None:
        try:
            return (self._schema(key).metadata or {}).get(_COMMIT)
        except FileNotFoundError:
            return None

    def _conflict(self, key: str) -> ManifestConflictError:
        return ManifestConflictError(
            f"another run is writing to {self.storage} (it created {key}); wait for it or stop it, then run the same "
            "command again to resume"
        )


def _columns(batch: pa.RecordBatch, schema: pa.Schema) -> Iterator[pa.Array]:
    """Columns of a schema except part and position; a column that an earlier version did not write is null."""
    written = set(batch.schema.names)
    for column in list(schema)[: -len(_POSITION)]:
        yield batch[column.name] if column.name in written else pa.nulls(len(batch), column.type)


# Samples with several rows, and the condition that a row of one of them is not its last.
_REPEATED = "SELECT sample_id, max(part) AS last FROM rows GROUP BY sample_id HAVING count(*) > 1"
_SUPERSEDED = "rows.sample_id = repeated.sample_id AND rows.part < repeated.last"
