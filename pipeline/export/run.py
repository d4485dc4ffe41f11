"""Exports the results of a sink: what has changed since the last export, in one commit."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import pyarrow as pa

from pipeline.database import Database
from pipeline.export.base import Changes, State, Target, sink_identity
from pipeline.export.carried import check_names, plain_schema, untyped_schema
from pipeline.export.columns import carried_fields, clashing_names, row_schema
from pipeline.export.results import READ_BYTES, ResultReader
from pipeline.export.selection import Selection, StaleRows
from pipeline.errors import ConfigError
from pipeline.sinks.shards import format_of
from pipeline.storage.storage import Storage

PROBED_SAMPLES = 100  # of a tar, for the types of what it carries


@dataclass(frozen=True)
class ExportOptions:
    """What is exported.

    Args:
        images: one of ``columns.IMAGES``.
        with_unchanged: also results of samples that had nothing to fill.
        with_carried: the columns that the sink carries.
    """

    images: str
    with_unchanged: bool = False
    with_carried: bool = True


@dataclass
class Exported:
    """What an export did.

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
        ConfigError: no sink, a target that holds something else, or names of columns that clash.
        TargetConflictError: another program has changed the target meanwhile.
        OSError: a storage does not answer.
    """
    with Database() as database:
        state = target.state()
        _check_sink(sink, state)
        selection = Selection(sink, database, options.images, options.with_unchanged)
        selection.compare(target.exported() if state else iter(()))
        schema = _schema(selection, options, state)
        replaces_all = state is None or schema != state.schema
        counts = selection.counts()
        if replaces_all:
            selection.take_all()
        reader, stale = ResultReader(sink, schema), StaleRows(database)
        batches = reader.batches(selection.rows())
        first = list(islice(batches, 1))
        done = Exported(0, left_out=selection.left_out, unread=reader.reasons)
        if first or replaces_all or stale.count():
            stamp = lambda: selection.stamp(reader.unread)  # noqa: E731
            rows = chain(first, batches)
            changes = Changes(schema, replaces_all, stale, rows, stamp, selection.check_forgotten)
            done.version, done.copied = target.commit(changes)
            done.added, done.changed, done.removed = counts["added"], counts["changed"], counts["removed"]
            done.replaced_all = replaces_all and state is not None
        done.rows = selection.stamp(reader.unread).rows
        return done


def _check_sink(sink: Storage, state: State | None) -> None:
    if state and state.sink != sink_identity(str(sink)):
        raise ConfigError(
            f"TARGET holds an export of another sink than {sink}, or of this one at another place; choose another "
            "target, or delete this one"
        )


def _schema(selection: Selection, options: ExportOptions, state: State | None) -> pa.Schema:
    """Return the schema of the rows, with all carried columns of the earlier export and of the rows to add."""
    if not options.with_carried:
        return row_schema(options.images)
    before = pa.schema(carried_fields(state.schema)) if state else pa.schema([])
    schemas = [before, *_carried_schemas(selection, before)]
    check_names(clashing_names(name for schema in schemas for name in schema.names))
    return row_schema(options.images, plain_schema(schemas))


def _carried_schemas(selection: Selection, before: pa.Schema) -> Iterator[pa.Schema]:
    """Yield the schemas of the carried columns in the shards of the rows to add."""
    sink = selection.sink

    def read(uri: str) -> pa.Schema | None:
        key = sink.key(uri)
        try:
            with sink.open(key, READ_BYTES) as file:
                return format_of(key).carried_schema(file)
        except (FileNotFoundError, ValueError, LookupError, pa.ArrowException):
            return pa.schema([])  # its rows are left out and counted when they are read

    shards = [uri for (uri,) in selection.database.run(_SHARDS)]
    found = list(sink.in_parallel(read, shards))
    yield from dict.fromkeys(schema for schema in found if schema is not None)
    if None in found:
        uri = shards[found.index(None)]
        yield _untyped(selection, uri, before)


def _untyped(selection: Selection, uri: str, before: pa.Schema) -> pa.Schema:
    """Return the columns that tars carry, with types as the earlier export has them, or else as values need them."""
    sink = selection.sink
    probed: pa.Schema = pa.schema([])
    key = sink.key(uri)
    with sink.open(key, READ_BYTES) as file:
        shard = format_of(key)
        members = islice(shard.read(file, with_image=False), PROBED_SAMPLES)
        probed = untyped_schema(shard.carried_of(member) for member in members)
    names = dict.fromkeys([*probed.names, *_carried_by_runs(selection)])
    known = {f.name: f.type for f in (*probed, *before)}
    return pa.schema([(name, known.get(name, pa.string())) for name in names])


def _carried_by_runs(selection: Selection) -> Iterator[str]:
    """Yield what the configurations of the runs carry whose rows are exported."""
    for (run_id,) in selection.database.run("SELECT DISTINCT run_id FROM wanted WHERE run_id IS NOT NULL ORDER BY 1"):
        try:
            summary: Mapping[str, Any] = json.loads(selection.sink.read(f"runs/{run_id}.json"))
            yield from summary["configuration"]["sink"]["carry"]
        except (FileNotFoundError, ValueError, LookupError, TypeError):
            continue  # what it carries is known from the samples that were looked at


_SHARDS = """
SELECT DISTINCT output_uri FROM wanted
WHERE output_member IS NOT NULL AND sample_id IN (FROM fresh) ORDER BY output_uri"""
