"""Which parts of the manifest count, and in which order: the meaning of their names and marks.

Whole runs append to one log, ``part-00000005.parquet``; the driver of a slice appends to its own,
``part-2-of-8-00000005.parquet``. Marks in the metadata of a part say more:

- An **adoption** is an empty part of the first log that puts parts of slices' logs at its place, before all later
  ones.
- A **compaction** is a group of parts of the first log that replaces earlier parts, except those that it keeps. Only
  the last part of the group says so; until it exists, the others are copies of rows that are there anyway. Earlier
  versions wrote **snapshots**, which keep nothing.

Both say from which number on parts of each slice's log count, so that a driver that slept cannot add one in between.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipeline.config.slice import Slice

FOLDER = "manifest"
COMMIT, FENCE = b"moebius.commit", b"moebius.fence"
ADOPTED, WRITER = b"moebius.adopted", b"moebius.adopted-by"
GROUP, COMPACTED = b"moebius.compaction", b"moebius.compacted"
_OLD_GROUP, _OLD_COMPLETE = b"moebius.snapshot", b"moebius.snapshot-complete"
_NAME = re.compile(rf"{FOLDER}/part-(?:(\d+-of-\d+)-)?(\d{{8}})\.parquet\Z")

Log = Slice | None  # the log of a slice, or the first one


class PartInfo(NamedTuple):
    """Facts from the footer of a part.

    Args:
        marks: metadata of its schema.
        rows: how many it has.
        columns: their names.
    """

    marks: Mapping[bytes, bytes]
    rows: int
    columns: tuple[str, ...]


class PartName(NamedTuple):
    """The log of a part, and its number there."""

    log: Log
    number: int

    @property
    def key(self) -> str:
        """Key of the part in the sink."""
        log = "" if self.log is None else f"{self.log.file_name}-"
        return f"{FOLDER}/part-{log}{self.number:08d}.parquet"


def parse_names(keys: Iterable[str]) -> dict[str, PartName]:
    """Return the names of the parts among some keys."""
    found = ((key, _NAME.match(key)) for key in keys)
    return {key: PartName(Slice.parse(name[1]) if name[1] else None, int(name[2])) for key, name in found if name}


@dataclass
class Contents:
    """The parts of a manifest.

    Args:
        parts: keys of those that count, in order: a row replaces those of its sample in earlier parts.
        stale: keys of those that do not, because others replace them or because a driver wrote them too late.
        compacted: number of parts at the beginning that the last compaction has left; no sample is in two of them.
        pending: keys of parts in slices' logs that the first log has not adopted, in order.
        next_numbers: by log, the first number that is free and counts.
        starts: by slice, the number of the first part that counts and is not adopted.
        missing: parts that count and are not there.
        is_adopted: whether there are adoptions since the last compaction.
    """

    parts: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    compacted: int = 0
    pending: dict[Slice, list[str]] = field(default_factory=dict)
    next_numbers: dict[Log, int] = field(default_factory=dict)
    starts: dict[Slice, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    is_adopted: bool = False


def read_contents(found: Mapping[str, PartInfo]) -> Contents:
    """Find out which parts count.

    Args:
        found: every part in the storage, by key.
    """
    names, now = parse_names(found), Contents()
    groups: dict[bytes, list[str]] = {}
    for key in sorted(key for key, name in names.items() if name.log is None):
        marks = found[key].marks
        if ADOPTED in marks:
            adoption = _parse(marks[ADOPTED])
            now.parts += _there(adoption["parts"], found, now)
            now.starts |= adoption["starts"]
            now.is_adopted = True
        now.parts.append(key)
        if group := marks.get(GROUP) or marks.get(_OLD_GROUP):
            groups.setdefault(group, []).append(key)
            if COMPACTED in marks or _OLD_COMPLETE in marks:
                compaction = _parse(marks.get(COMPACTED, b'{"parts": [], "starts": {}}'))
                now.missing = []
                now.parts = _there(compaction["parts"], found, now) + groups.pop(group)
                now.starts |= compaction["starts"]
                now.compacted, now.is_adopted = len(now.parts), False
    adopted = set(now.parts)
    for key, name in sorted(names.items(), key=lambda item: (item[1].log or Slice(0, 0), item[1].number)):
        now.next_numbers[name.log] = max(now.next_numbers.get(name.log, 0), name.number + 1)
        if name.log is not None and key not in adopted and name.number >= now.starts.get(name.log, 0):
            now.pending.setdefault(name.log, []).append(key)
            now.parts.append(key)
    for log, start in now.starts.items():
        now.next_numbers[log] = max(now.next_numbers.get(log, 0), start)
    now.stale = sorted(found.keys() - set(now.parts))
    return now


def adoption(parts: Iterable[str], starts: Mapping[Slice, int], writer: Log) -> dict[bytes, bytes]:
    """Return the marks of a part that adopts others; the writer has the log of a slice, or holds the whole sink."""
    return {ADOPTED: _text(parts, starts), WRITER: b"" if writer is None else writer.file_name.encode()}


def is_by_driver(info: PartInfo, count: int) -> bool:
    """Return whether a part of the first log is of a driver of so many slices; others hold the whole sink."""
    writer = info.marks.get(WRITER, b"").decode()
    return bool(writer) and Slice.parse(writer).count == count


def compaction(group: bytes, kept: Iterable[str] | None, starts: Mapping[Slice, int]) -> dict[bytes, bytes]:
    """Return the marks of a part of a compaction; of its last one with the parts that are kept."""
    return {GROUP: group} if kept is None else {GROUP: group, COMPACTED: _text(kept, starts)}


def _text(parts: Iterable[str], starts: Mapping[Slice, int]) -> bytes:
    by_name = {log.file_name: start for log, start in starts.items()}
    return json.dumps({"parts": list(parts), "starts": by_name}).encode()


def _parse(text: bytes) -> dict[str, Any]:
    mark = json.loads(text)
    return {"parts": mark["parts"], "starts": {Slice.parse(name): start for name, start in mark["starts"].items()}}


def _there(keys: list[str], found: Mapping[str, PartInfo], now: Contents) -> list[str]:
    now.missing += (key for key in keys if key not in found)
    return [key for key in keys if key in found]
