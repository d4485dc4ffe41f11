"""The manifest: logs of Parquet parts, each part created exclusively under the next number of its log.

Writing a part is the only commit. Two writers that saw the same state race for the same number: object stores (by
conditional PUT) and local disks (by hard link) let exactly one succeed, and the other gets a conflict. A later row of
a sample replaces an earlier one. A run that holds the whole sink writes to the first log. The driver of a slice writes
to a log of its own, whose rows count as later than the first log until the next holder of the whole sink adopts them.
``compact`` rewrites the parts that hold replaced rows, and the small ones, see :mod:`pipeline.manifest.contents`.
"""

import uuid
from collections.abc import Collection, Mapping

import numpy as np
import pyarrow as pa

from pipeline.config.slice import Slice
from pipeline.database import Database
from pipeline.faults.write_retries import Hold
from pipeline.manifest.contents import FENCE, Log, adoption, compaction
from pipeline.manifest.part_log import LOAD_TRIES, ManifestConflictError, PartLog
from pipeline.manifest.rows import POSITION, kept_rows, replaced_rows, scan, superseded
from pipeline.records import MANIFEST_SCHEMA
from pipeline.storage.errors import FileChangedError
from pipeline.storage.storage import Storage

__all__ = ["Manifest", "ManifestConflictError"]
SNAPSHOT_ROWS = 250_000  # in one part of a compaction; parts of less than half of that are small
MAX_SMALL_PARTS = 16
_FENCE_MARK = {FENCE: b"1"}
_NO_ROWS = MANIFEST_SCHEMA.empty_table()


class Manifest:
    """The manifest of one sink, as last read by this process.

    Args:
        storage: of the sink.
        hold: retry policy of commits.
        own_slice: that the caller holds; ``None`` where it holds the whole sink, or only reads.
    """

    def __init__(self, storage: Storage, hold: Hold | None = None, own_slice: Slice | None = None) -> None:
        self.storage, self.log = storage, own_slice
        self._log = PartLog(storage, hold or Hold(), own_slice)
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
                self._log.find_parts()
                schema = pa.schema([MANIFEST_SCHEMA.field(name) for name in columns] + POSITION)
                database.create("rows", schema, scan(self.storage, list(enumerate(self._log.contents.parts)), schema))
                break
            except (FileNotFoundError, FileChangedError):
                continue  # another run has replaced parts between listing and reading
        else:
            raise ManifestConflictError(f"another run keeps replacing the manifest of {self.storage}")
        database.run("CREATE OR REPLACE TABLE replaced AS FROM rows LIMIT 0")
        if len(self._log.contents.parts) > max(self._log.contents.compacted, 1):
            replaced = replaced_rows(database, self._log.contents.compacted)
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
        if self.log is not None and self.log not in self._log.contents.pending:
            self._commit(self.log, _NO_ROWS, _FENCE_MARK)  # so that holders of the sink know of this log from now on
        self._commit(self.log, rows, marks or {})

    def check(self) -> None:
        """Check that no other run has written since the last read, before deleting files that rows may name.

        Raises:
            ManifestConflictError: another run has.
        """
        if newer := self._log.newer(self._log.list()):
            raise self._log.conflict(newer)

    def fence(self) -> None:
        """Make the next commit of every other run that has read this manifest a conflict."""
        self.append(_NO_ROWS, _FENCE_MARK)

    def exists(self) -> bool:
        """Whether there is any part."""
        return bool(self._log.list())

    def is_tidy(self) -> bool:
        """Whether all rows of slices are in the first log and compacted, as of now."""
        self._log.find_parts()
        now = self._log.contents
        return not (now.pending or now.is_adopted or now.stale)

    @property
    def stale(self) -> list[str]:
        """Keys of replaced parts, as of the last read."""
        return list(self._log.contents.stale)

    def compact(self, max_parts: int = MAX_SMALL_PARTS) -> None:
        """Leave one row per sample, in parts with equal columns of which at most ``max_parts`` are small.

        Only parts with replaced rows or other columns, and small ones, are written anew.
        """
        self._adopt()
        now = self._log.contents
        dropped = {} if self._is_unique else superseded(self.storage, now.parts, now.compacted, ())
        outdated = self._outdated()
        if dropped or outdated or now.is_adopted or len(self._small()) > max_parts:
            self._rewrite(dropped, outdated)
        self._delete_stale()

    def remove(self, sample_ids: Collection[str]) -> None:
        """Rewrite the parts that hold rows of some samples without them, and delete these parts."""
        self._adopt()
        now = self._log.contents
        self._rewrite(superseded(self.storage, now.parts, now.compacted, sample_ids), self._outdated())
        self._delete_stale()

    def _small(self) -> list[int]:
        """Numbers of the parts that are small."""
        return [n for n, key in enumerate(self._log.contents.parts) if 2 * self._log.info[key].rows < SNAPSHOT_ROWS]

    def _outdated(self) -> list[int]:
        """Numbers of the parts whose columns are not today's, where not all parts have the same."""
        columns = [self._log.info[key].columns for key in self._log.contents.parts]
        return (
            [n for n, own in enumerate(columns) if own != tuple(MANIFEST_SCHEMA.names)] if len({*columns}) > 1 else []
        )

    def _rewrite(self, dropped: dict[int, np.ndarray], outdated: list[int]) -> None:
        """Replace parts by others without the dropped rows of each, and merge small ones."""
        now = self._log.contents
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
        for key in self._log.contents.stale:
            self.storage.delete(key)
        self._log.contents.stale = []

    def _adopt(self) -> None:
        """Give parts of slices' logs a place in the first log, before anything is added that must come later.

        Drivers of slices adopt only logs of other numbers of slices, and may do so at once.

        Raises:
            ManifestConflictError: a driver of these slices, or another holder of the sink, has written meanwhile.
        """
        for tries_left in reversed(range(LOAD_TRIES)):
            logs = [log for log in self._log.contents.pending if self._must_adopt(log)]
            if not logs:
                return
            parts = [key for log in logs for key in self._log.contents.pending[log]]
            try:
                for log in logs:  # a driver that sleeps cannot commit any more
                    self._commit(log, _NO_ROWS, _FENCE_MARK)
                starts = {log: self._log.contents.next_numbers[log] for log in logs}
                self._commit(None, _NO_ROWS, adoption(parts, starts, self.log))
            except ManifestConflictError:
                if self.log is None or not tries_left:
                    raise
            self._log.find_parts()
            self._is_unique = False

    def _must_adopt(self, log: Slice) -> bool:
        if self.log is None:
            return True
        return log.count != self.log.count and any(self._log.info[key].rows for key in self._log.contents.pending[log])

    def _commit(self, log: Log, rows: pa.Table, marks: Mapping[bytes, bytes]) -> None:
        self._log.commit(log, rows, marks)
        self._is_unique = len(self._log.contents.parts) == 1
