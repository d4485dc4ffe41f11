"""The interface of export formats."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from pipeline.errors import ConfigError

MARK = "moebius"  # begins the names of everything that exports store about themselves
# What is read of an earlier export: one row for each exported sample.
EXPORTED = pa.schema([("sample_id", pa.string()), ("row_version", pa.string()), ("file", pa.string())])


class TargetConflictError(OSError):
    """Another program has changed the target since this export read it."""


class Stamp(NamedTuple):
    """The identity of an export, which the metadata of its target hold.

    Args:
        sink: identity of the sink, see :func:`sink_identity`.
        version: hash over all rows of the export.
        rows: their number.
    """

    sink: str
    version: str
    rows: int

    def as_properties(self) -> dict[str, str]:
        """Return the stamp as names and texts, for tables whose metadata hold properties."""
        return {f"{MARK}.{name}": str(value) for name, value in self._asdict().items()}


class State(NamedTuple):
    """An earlier export.

    Args:
        sink: as in its stamp.
        schema: of its rows, as this program hands them to the target.
    """

    sink: str
    schema: pa.Schema


class Stale(Protocol):
    """Rows of the earlier export that the new one does not keep."""

    def count(self) -> int:
        """Return their number."""

    def files(self) -> Iterator[tuple[str, Sequence[str]]]:
        """Yield each file that holds some, with the ids of their samples."""


@dataclass(frozen=True)
class Changes:
    """The difference between the earlier export and the new one.

    Args:
        schema: of the rows; differs from the earlier one only where everything is replaced.
        replaces_all: nothing of the earlier export is kept, or there is none.
        stale: rows to remove; meaningless where everything is replaced.
        rows: rows to add, in batches of bounded size; may be read once.
        sink: identity of the sink, as in the stamp.
        stamp: returns what to store, once the rows have been read.
        check: raises if the changes must not be committed; called right before the commit.
    """

    schema: pa.Schema
    replaces_all: bool
    stale: Stale
    rows: Iterable[pa.RecordBatch]
    sink: str
    stamp: Callable[[], Stamp]
    check: Callable[[], None]


class Committed(NamedTuple):
    """A commit.

    Args:
        version: of the target, in its own words, such as ``version 3``.
        copied: rows that were kept, and written again because they share a file with removed ones.
    """

    version: str
    copied: int


class Target(Protocol):
    """A data set or table, open for one export inside ``with``.

    Args:
        uri: where it is.
        options: of its storage or catalog; they may hold secrets.

    Attributes:
        has_versions: whether earlier versions, with rows that were removed since, stay until :meth:`purge`.
    """

    has_versions: bool

    def __init__(self, uri: str, options: Mapping[str, Any]) -> None: ...

    def __enter__(self) -> "Target": ...

    def __exit__(self, *_: object) -> None: ...

    def state(self) -> State | None:
        """Return the state of the earlier export, ``None`` if there is nothing at the uri.

        Raises:
            ConfigError: there is something else.
        """

    def exported(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows of the earlier export, as batches of ``EXPORTED``."""

    def commit(self, changes: Changes) -> Committed:
        """Write changes and make them visible all at once.

        Raises:
            TargetConflictError: another program has changed the target since :meth:`state`.
        """

    def purge(self) -> None:
        """Delete earlier versions, with the rows that were removed since."""


def refuse_columns(names: Sequence[str], why: str) -> None:
    """Refuse columns that a format cannot hold, if there are any.

    Raises:
        ConfigError: naming them.
    """
    if names:
        raise ConfigError(
            f"TARGET: the format cannot hold the columns {', '.join(names)}: {why}; --without-carried leaves carried "
            "columns out"
        )


def sink_identity(sink: str) -> str:
    """Return a hash of the uri of a sink, which does not tell readers of the export where it is."""
    return hashlib.sha256(sink.encode()).hexdigest()[:16]


def foreign(uri: str, what: str) -> ConfigError:
    """Return the error of a target that holds something else than an export."""
    return ConfigError(f"TARGET: {uri} holds {what}; choose another target, nothing was written")
