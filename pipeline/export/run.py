"""Exports the results of a sink: what has changed since the last export, in one commit."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

import pyarrow as pa

from pipeline.database import Database
from pipeline.errors import ConfigError
from pipeline.export.base import Changes, State, Target, sink_identity
from pipeline.export.carried_columns import carried_schema
from pipeline.export.columns import row_schema
from pipeline.export.results import ResultReader
from pipeline.export.selection import Selection, StaleRows
from pipeline.storage.storage import Storage


@dataclass(frozen=True)
class ExportOptions:
    """The choice of rows and columns to export.

    Args:
        images: one of ``registry.IMAGES``.
        with_unchanged: also results of samples that had nothing to fill.
        with_carried: the columns that the sink carries.
    """

    images: str
    with_unchanged: bool = False
    with_carried: bool = True


@dataclass
class Exported:
    """The outcome of an export.

    Args:
        rows: of the target now.
        version: of the target, ``None`` if nothing changed.
        added, changed, removed: rows, in comparison with the last export.
        copied: rows that were kept, and written again because they share a file with removed ones.
        replaced_all: the rows have other columns than before, so all were written again.
        left_out: rows of the manifest that are not exported, by reason.
        unread: results that could not be read, by reason.
    """

    rows: int
    version: str | None = None
    added: int = 0
    changed: int = 0
    removed: int = 0
    copied: int = 0
    replaced_all: bool = False
    left_out: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)


def export(sink: Storage, target: Target, options: ExportOptions) -> Exported:
    """Bring a target to the current results of a sink.

    Args:
        sink: of the job; may be in use by a run.
        target: inside ``with``.
        options: what is exported.

    Raises:
        ConfigError: no sink, a target that holds something else, or names of columns that clash or do not fit.
        TargetConflictError: another program has changed the target meanwhile.
        OSError: a storage does not answer, or no result can be read.
    """
    with Database() as database:
        state = target.state()
        _check_sink(sink, state)
        selection = Selection(sink, database, options.images, options.with_unchanged, options.with_carried)
        selection.compare(target.exported() if state else iter(()))
        carried = carried_schema(selection, state) if options.with_carried else pa.schema([])
        schema = row_schema(options.images, carried)
        replaces_all = state is None or _columns(schema) != _columns(state.schema)
        if replaces_all:
            selection.take_all()
        reader, stale = ResultReader(sink, schema), StaleRows(database)
        batches = reader.batches(selection.rows())
        first = list(islice(batches, 1))
        done = Exported(0, left_out=selection.left_out, unread=reader.reasons)
        if first or replaces_all or stale.count():
            rows = _Watched(chain(first, batches))
            changes = Changes(
                schema,
                replaces_all,
                stale,
                rows,
                sink_identity(str(sink)),
                lambda: selection.stamp(reader.unread),
                lambda: _check(selection, reader),
            )
            try:
                done.version, done.copied = target.commit(changes)
            except Exception:
                if rows.failure:
                    raise rows.failure from None
                raise
            counts = selection.counts(reader.unread)
            done.added, done.changed, done.removed = counts["added"], counts["changed"], counts["removed"]
            done.replaced_all = replaces_all and state is not None
        done.rows = selection.stamp(reader.unread).rows
        return done


def _check(selection: Selection, reader: ResultReader) -> None:
    """Check that rows may be committed.

    Raises:
        ConfigError: samples were forgotten since the rows were read.
        OSError: no result can be read, as where a disk is not mounted.
    """
    selection.check_forgotten()
    if reader.unread and not selection.stamp(reader.unread).rows:
        told = ", ".join(f"{count} {reason}" for reason, count in sorted(reader.reasons.items()))
        raise OSError(f"no result of {selection.sink} can be read ({told}): nothing was exported")


class _Watched:
    """Batches of rows; keeps the exception that ends them, since engines replace it with text."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self.failure: Exception | KeyboardInterrupt | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._batches
        except (Exception, KeyboardInterrupt) as error:
            self.failure = error
            raise


def _columns(schema: pa.Schema) -> dict[str, pa.DataType]:
    """Return the columns of a schema in no order: a table keeps those that are added at its end."""
    return {column.name: column.type for column in schema}


def _check_sink(sink: Storage, state: State | None) -> None:
    if state and state.sink != sink_identity(str(sink)):
        raise ConfigError(
            f"TARGET holds an export of another sink than {sink}, or of this one at another place; choose another "
            "target, or delete this one"
        )
