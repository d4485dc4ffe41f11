"""Finds the columns that a sink carries, for all rows of an export."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.export.base import State
from pipeline.export.columns import carried_fields, clashing_names
from pipeline.export.plain_types import plain_schema, untyped_schema
from pipeline.export.results import DAMAGED, READ_BYTES
from pipeline.export.selection import Selection
from pipeline.sinks.shards import format_of

PROBED_SHARDS, PROBED_SAMPLES = 16, 100  # of tars, and of each, for the types of what they carry


def carried_schema(selection: Selection, state: State | None) -> pa.Schema:
    """Return all carried columns of the earlier export and of the rows to add.

    Raises:
        ConfigError: a column has the name of another one of the export.
    """
    before = pa.schema(carried_fields(state.schema)) if state else pa.schema([])
    schemas = [before, *_carried_schemas(selection, before)]
    if names := clashing_names(name for schema in schemas for name in schema.names):
        raise ConfigError(
            f"sink.carry: {', '.join(names)} cannot be exported under these names, which the export uses itself; "
            "--without-carried leaves all carried columns out"
        )
    return plain_schema(schemas)


def _carried_schemas(selection: Selection, before: pa.Schema) -> Iterator[pa.Schema]:
    """Yield the schemas of the carried columns in the shards of the rows to add."""
    sink = selection.sink

    def read(uri: str) -> pa.Schema | None:
        key = sink.key(uri)
        try:
            with sink.open(key, READ_BYTES) as file:
                return format_of(key).carried_schema(file)
        except DAMAGED:
            return pa.schema([])  # its rows are left out and counted when they are read

    shards = [uri for (uri,) in selection.database.run(_SHARDS)]
    found = list(zip(shards, sink.in_parallel(read, shards), strict=True))
    yield from dict.fromkeys(schema for _, schema in found if schema is not None)
    if untyped := [uri for uri, schema in found if schema is None]:
        yield _probed(selection, untyped, before)


def _probed(selection: Selection, uris: Sequence[str], before: pa.Schema) -> pa.Schema:
    """Return the columns that tars carry, with types as the earlier export has them, or else as some values need them.

    A later value that does not fit is left out with its sample, and counted.
    """
    sink, types = selection.sink, {field.name: field.type for field in before}
    names = dict.fromkeys(_carried_by_runs(selection))
    for uri in uris[:PROBED_SHARDS]:
        if names and all(name in types for name in names):
            break
        key = sink.key(uri)
        try:
            with sink.open(key, READ_BYTES) as file:
                shard = format_of(key)
                members = islice(shard.read(file, with_image=False), PROBED_SAMPLES)
                probed = untyped_schema([shard.carried_of(member) for member in members])
        except DAMAGED:
            continue  # its rows are left out and counted when they are read
        names |= dict.fromkeys(probed.names)
        types = {**{field.name: field.type for field in probed}, **types}
    return pa.schema([(name, types.get(name, pa.string())) for name in names])


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
