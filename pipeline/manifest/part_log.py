"""Creates the parts of the manifest, one number after the other, and notices those of others."""

import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.faults.write_retries import Hold
from pipeline.manifest.contents import (
    COMMIT,
    FOLDER,
    Contents,
    Log,
    PartInfo,
    PartName,
    is_by_driver,
    parse_names,
    read_contents,
)
from pipeline.manifest.parts import encode_part, open_part
from pipeline.storage.errors import attempt
from pipeline.storage.storage import Storage

LOAD_TRIES = 5
REQUESTS = 16  # under way at once


class ManifestConflictError(RuntimeError):
    """Another run has written to the sink since this one read it."""


class PartLog:
    """The parts of one sink's manifest, as last read by this process.

    Args:
        storage: of the sink.
        hold: retry policy of commits.
        log: that the caller appends to: of its slice, or the first one.
    """

    def __init__(self, storage: Storage, hold: Hold, log: Log) -> None:
        self.storage, self.hold, self.log = storage, hold, log
        self.contents = Contents()
        self.info: dict[str, PartInfo] = {}

    def commit(self, log: Log, rows: pa.Table, marks: Mapping[bytes, bytes]) -> None:
        """Create the next part of a log.

        Raises:
            ManifestConflictError: another run has written since this one read.
            ConfigError: the storage does not list what was written.
        """
        now, commit = self.contents, uuid.uuid4().hex.encode()
        name = PartName(log, now.next_numbers.get(log, 0))
        rows = rows.replace_schema_metadata({COMMIT: commit, **marks})
        create = partial(self._create, name.key, encode_part(rows))
        fault = self.hold.retry(create, create(), self.storage.is_local)
        # A repeated request may meet its own first attempt, whose answer was lost.
        if isinstance(fault, FileExistsError) and self._commit_of(name.key) != commit:
            raise self.conflict(name.key)
        if fault and not isinstance(fault, FileExistsError):
            raise fault
        if newer := self.newer(self.list(name.key), name):
            self._withdraw(name.key)
            raise self.conflict(newer)
        now.parts.append(name.key)
        self.info[name.key] = PartInfo(rows.schema.metadata, rows.num_rows, tuple(rows.column_names))
        now.next_numbers[log] = name.number + 1
        if log is not None:
            now.pending.setdefault(log, []).append(name.key)

    def _create(self, key: str, data: bytes) -> Exception | None:
        return attempt(self.storage.create, key, data)[1]

    def newer(self, names: Mapping[str, PartName], own: PartName | None = None) -> str | None:
        """Return a part that another run has written and that makes this run's next commit, or its last, a conflict.

        Args:
            names: of the parts in the storage.
            own: part that this run has just written.
        """
        known = self.contents.next_numbers | ({own.log: own.number + 1} if own else {})
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
        if key not in self.info:
            try:
                self.info[key] = self._read_info(key)
            except FileNotFoundError:  # a holder of the whole sink has replaced it
                return False
        return is_by_driver(self.info[key], count)

    def find_parts(self) -> None:
        """Find the parts that count."""
        names, found = self.list(), self.info
        for _ in range(LOAD_TRIES):
            keys = sorted(names)
            with ThreadPoolExecutor(REQUESTS) as threads:
                found = dict(zip(keys, threads.map(self._read_info, keys), strict=True))
            now = read_contents(found)
            if not now.missing or (again := self.list()) == names:  # lost, not replaced since
                break
            names = again
        self.contents, self.info = now, found

    def list(self, *written: str) -> dict[str, PartName]:
        """Return the names of the parts in the storage, by key.

        Args:
            written: keys of parts that this process has just written.

        Raises:
            ConfigError: the storage does not list known parts although no later ones exist.
        """
        names = parse_names(file.key for file in self.storage.list_files(FOLDER))
        now = self.contents
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
        seen = PartLog(self.storage, self.hold, None)
        seen.find_parts()
        if key in seen.contents.stale:
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

    def conflict(self, key: str) -> ManifestConflictError:
        return ManifestConflictError(
            f"another run is writing to {self.storage} (it created {key}); wait for it or stop it, then run the same "
            "command again to resume"
        )
