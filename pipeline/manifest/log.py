"""The manifest: logs of Parquet parts, each part created exclusively under the next number of its log.

Writing a part is the only commit. Two writers that saw the same state race for the same number: object stores (by
conditional PUT) and local disks (by hard link) let exactly one succeed, and the other gets a conflict. A later row of
a sample replaces an earlier one. Who holds the whole sink writes to the first log; the driver of a slice to one of its
own, whose rows come after all those of the first log until the next holder of the whole sink adopts them there.
``compact`` rewrites the parts that hold replaced rows, and the small ones, see :mod:`pipeline.manifest.contents`.
"""

import uuid
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pyarrow as pa

from pipeline.config.slice import Slice
from pipeline.database import Database
from pipeline.errors import ConfigError
from pipeline.faults.write_retries import Hold
from pipeline.manifest.contents import (
    COMMIT,
    FENCE,
    FOLDER,
    Contents,
    Log,
    PartInfo,
    PartName,
    adoption,
    compaction,
    is_by_driver,
    parse_names,
    read_contents,
)
from pipeline.manifest.parts import encode_part, open_part
from pipeline.manifest.rows import POSITION, kept_rows, replaced_rows, scan, superseded
from pipeline.records import MANIFEST_SCHEMA
from pipeline.storage.errors import FileChangedError
from pipeline.storage.storage import Storage, attempt

LOAD_TRIES = 5
REQUESTS = 16  # under way at once
SNAPSHOT_ROWS = 250_000  # in one part of a compaction; parts of less than half of that are small
MAX_SMALL_PARTS = 16
_FENCE_MARK = {FENCE: b"1"}
_NO_ROWS = MANIFEST_SCHEMA.empty_table()


class ManifestConflictError(RuntimeError):
    """Another run has written to the sink since this one read it."""


class Manifest:
    """The manifest of one sink, as last read by this process.

    Args:
        storage: of the sink.
        hold: retry policy of commits.
        own_slice: that the caller holds; ``None`` where it holds the whole sink, or only reads.
    """

    def __init__(self, storage: Storage, hold: Hold | None = None, own_slice: Slice | None = None) -> None:
        self.storage, self.hold, self.log = storage, hold or Hold(), own_slice
        self._contents = Contents()
        self._info: dict[str, PartInfo] = {}
        self._is_unique = True  # as far as is known without another look

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

        The table ``replaced`` holds rows that later rows of their samples replace and that no compaction has dropped.

        Raises:
            DamagedManifestError: a part cannot be read.
            ManifestConflictError: another run replaces parts again and again.
        """
        for _ in range(LOAD_TRIES):
            try:
                self._find_parts()
                schema = pa.schema([MANIFEST_SCHEMA.field(name) for name in columns] + POSITION)
                database.create("rows", schema, scan(self.storage, list(enumerate(self._contents.parts)), schema))
                break
            except (FileNotFoundError, FileChangedError):
                continue  # another run has replaced parts between listing and reading
        else:
            raise ManifestConflictError(f"another run keeps replacing the manifest of {self.storage}")
        database.run("CREATE OR REPLACE TABLE replaced AS FROM rows LIMIT 0")
        if len(self._contents.parts) > max(self._contents.compacted, 1):
            replaced = replaced_rows(database, self._contents.compacted)
            database.run(f"INSERT INTO replaced SELECT rows.* {replaced}")
            same_row = "rows.part = replaced.part AND rows.position = replaced.position"
            database.run(f"DELETE FROM rows USING replaced WHERE {same_row}")
        self._is_unique = not database.run("SELECT 1 FROM replaced LIMIT 1")

    def append(self, rows: pa.Table, marks: Mapping[bytes, bytes] | None = None) -> None:
        """Commit rows; they are durable when this returns.

        Raises:
            ManifestConflictError: another run has written since this one read.
            ConfigError: the storage does not list what was written.
        """
        if rows.num_rows == 0 and not marks:
            return
        self._adopt()
        if self.log is not None and self.log not in self._contents.pending:
            self._commit(self.log, _NO_ROWS, _FENCE_MARK)  # so that holders of the sink know of this log from now on
        self._commit(self.log, rows, marks or {})

    def check(self) -> None:
        """Check that no other run has written since the last read, before deleting files that rows may name.

        Raises:
            ManifestConflictError: another run has.
        """
        if newer := self._newer(self._list()):
            raise self._conflict(newer)

    def fence(self) -> None:
        """Make the next commit of every other run that has read this manifest a conflict."""
        self.append(_NO_ROWS, _FENCE_MARK)

    def exists(self) -> bool:
        """Whether there is any part."""
        return bool(self._list())

    def is_tidy(self) -> bool:
        """Whether all rows of slices are in the first log and compacted, as of now."""
        self._find_parts()
        now = self._contents
        return not (now.pending or now.is_adopted or now.stale)

    @property
    def stale(self) -> list[str]:
        """Keys of replaced parts, as of the last read."""
        return list(self._contents.stale)

    def compact(self, max_parts: int = MAX_SMALL_PARTS) -> None:
        """Leave one row per sample, in parts with equal columns of which at most ``max_parts`` are small.

        Only parts with replaced rows or other columns, and small ones, are written anew.
        """
        self._adopt()
        now = self._contents
        dropped = {} if self._is_unique else superseded(self.storage, now.parts, now.compacted, ())
        outdated = self._outdated()
        if dropped or outdated or now.is_adopted or len(self._small()) > max_parts:
            self._rewrite(dropped, outdated)
        self._delete_stale()

    def remove(self, sample_ids: Collection[str]) -> None:
        """Rewrite the parts that hold rows of some samples without them, and delete these parts."""
        self._adopt()
        now = self._contents
        self._rewrite(superseded(self.storage, now.parts, now.compacted, sample_ids), self._outdated())
        self._delete_stale()

    def _small(self) -> list[int]:
        """Numbers of the parts that are small."""
        return [n for n, key in enumerate(self._contents.parts) if 2 * self._info[key].rows < SNAPSHOT_ROWS]

    def _outdated(self) -> list[int]:
        """Numbers of the parts whose columns are not today's, where not all parts have the same."""
        columns = [self._info[key].columns for key in self._contents.parts]
        return (
            [n for n, own in enumerate(columns) if own != tuple(MANIFEST_SCHEMA.names)] if len({*columns}) > 1 else []
        )

    def _rewrite(self, dropped: dict[int, np.ndarray], outdated: list[int]) -> None:
        """Replace parts by others without the dropped rows of each, and merge small ones."""
        now = self._contents
        chosen = {*dropped, *outdated, *self._small()}
        kept = [key for number, key in enumerate(now.parts) if number not in chosen]
        replaced = [(number, key) for number, key in enumerate(now.parts) if number in chosen]
        group, before = uuid.uuid4().hex.encode(), len(now.parts)
        pieces = kept_rows(self.storage, replaced, dropped, SNAPSHOT_ROWS)
        piece = next(pieces, _NO_ROWS)
        for following in pieces:
            self._commit(None, piece, compaction(group, None, now.starts))
            piece = following
        self._commit(None, piece, compaction(group, kept, now.starts))
        now.stale += (key for _, key in replaced)
        now.parts = kept + now.parts[before:]
        now.compacted, now.is_adopted, self._is_unique = len(now.parts), False, True

    def _delete_stale(self) -> None:
        for key in self._contents.stale:
            self.storage.delete(key)
        self._contents.stale = []

    def _adopt(self) -> None:
        """Give parts of slices' logs a place in the first log, before anything is added that must come later.

        Drivers of slices adopt only logs of other numbers of slices, and may do so at once.

        Raises:
            ManifestConflictError: a driver of these slices, or another holder of the sink, has written meanwhile.
        """
        for tries_left in reversed(range(LOAD_TRIES)):
            logs = [log for log in self._contents.pending if self._must_adopt(log)]
            if not logs:
                return
            parts = [key for log in logs for key in self._contents.pending[log]]
            try:
                for log in logs:  # a driver that sleeps cannot commit any more
                    self._commit(log, _NO_ROWS, _FENCE_MARK)
                starts = {log: self._contents.next_numbers[log] for log in logs}
                self._commit(None, _NO_ROWS, adoption(parts, starts, self.log))
            except ManifestConflictError:
                if self.log is None or not tries_left:
                    raise
            self._find_parts()
            self._is_unique = False

    def _must_adopt(self, log: Slice) -> bool:
        if self.log is None:
            return True
        return log.count != self.log.count and any(self._info[key].rows for key in self._contents.pending[log])

    def _commit(self, log: Log, rows: pa.Table, marks: Mapping[bytes, bytes]) -> None:
        """Create the next part of a log."""
        now, commit = self._contents, uuid.uuid4().hex.encode()
        name = PartName(log, now.next_numbers.get(log, 0))
        rows = rows.replace_schema_metadata({COMMIT: commit, **marks})
        create = partial(self._create, name.key, encode_part(rows))
        fault = self.hold.retry(create, create(), self.storage.is_local)
        # A repeated request may meet its own first attempt, whose answer was lost.
        if isinstance(fault, FileExistsError) and self._commit_of(name.key) != commit:
            raise self._conflict(name.key)
        if fault and not isinstance(fault, FileExistsError):
            raise fault
        if newer := self._newer(self._list(name.key), name):
            self._withdraw(name.key)
            raise self._conflict(newer)
        now.parts.append(name.key)
        self._info[name.key] = PartInfo(rows.schema.metadata, rows.num_rows, tuple(rows.column_names))
        self._is_unique = len(now.parts) == 1
        now.next_numbers[log] = name.number + 1
        if log is not None:
            now.pending.setdefault(log, []).append(name.key)

    def _create(self, key: str, data: bytes) -> Exception | None:
        return attempt(self.storage.create, key, data)[1]

    def _newer(self, names: Mapping[str, PartName], own: PartName | None = None) -> str | None:
        """Return a part that another run has written and that makes this run's next commit, or its last, a conflict.

        Args:
            names: of the parts in the storage.
            own: part that this run has just written.
        """
        known = self._contents.next_numbers | ({own.log: own.number + 1} if own else {})
        newer = {key: name for key, name in names.items() if name.number >= known.get(name.log, 0)}
        if self.log is None:
            return next(iter(newer), None)
        for key, name in newer.items():
            if name.log == self.log or (own and name.log == own.log):
                return key
            if name.log is None and not self._is_by_other_driver(key, self.log.count):
                return key
        return None

    def _is_by_other_driver(self, key: str, count: int) -> bool:
        if key not in self._info:
            try:
                self._info[key] = self._read_info(key)
            except FileNotFoundError:  # a holder of the whole sink has replaced it
                return False
        return is_by_driver(self._info[key], count)

    def _find_parts(self) -> None:
        """Find the parts that count."""
        names, found = self._list(), self._info
        for _ in range(LOAD_TRIES):
            keys = sorted(names)
            with ThreadPoolExecutor(REQUESTS) as threads:
                found = dict(zip(keys, threads.map(self._read_info, keys), strict=True))
            now = read_contents(found)
            if not now.missing or (again := self._list()) == names:  # lost, not replaced since
                break
            names = again
        self._contents, self._info = now, found

    def _list(self, *written: str) -> dict[str, PartName]:
        """Return the names of the parts in the storage, by key.

        Args:
            written: keys of parts that this process has just written.

        Raises:
            ConfigError: the storage does not list known parts although no later ones exist.
        """
        names = parse_names(file.key for file in self.storage.list_files(FOLDER))
        now = self._contents
        missing = next((key for key in (*now.parts, *written) if key not in names), None)
        newest = max((name.number for name in names.values() if name.log is None), default=-1)
        if missing and newest < now.next_numbers.get(None, 0):
            raise ConfigError(
                f"sink.uri: {self.storage} does not list {missing}, which was there before: its listings must show at "
                "once what was written (read-after-write consistency), or rows could be lost or duplicated unnoticed; "
                "choose another storage for the sink, unless somebody has deleted that file"
            )
        return names

    def _withdraw(self, key: str) -> None:
        """Delete a part whose number was free only because another run had replaced it.

        If the other run has read the part before continuing, the part is kept.
        """
        seen = Manifest(self.storage)
        seen._find_parts()
        if key in seen.stale:
            self.storage.delete(key)

    def _read_info(self, key: str) -> PartInfo:
        with open_part(self.storage, key) as part:
            schema = part.schema_arrow
            return PartInfo(schema.metadata or {}, part.metadata.num_rows, tuple(schema.names))

    def _commit_of(self, key: str) -> bytes | None:
        try:
            return self._read_info(key).marks.get(COMMIT)
        except FileNotFoundError:
            return None

    def _conflict(self, key: str) -> ManifestConflictError:
        return ManifestConflictError(
            f"another run is writing to {self.storage} (it created {key}); wait for it or stop it, then run the same "
            "command again to resume"
        )
