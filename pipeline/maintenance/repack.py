"""Deletes shards that no row names, and rewrites shards that hold replaced results.

A shard's name holds the number of its samples; if fewer rows name it, some of its results are replaced. The new shard
is written, then its rows are committed, then the old one is deleted; a crash in between leaves a shard that no row
names, which the next run deletes.
"""

import logging
from collections.abc import Iterable, Mapping

import pyarrow as pa

from pipeline.database import Database
from pipeline.manifest.lease import Lease
from pipeline.manifest.log import Manifest
from pipeline.records import MANIFEST_SCHEMA
from pipeline.sinks.base import FOLDER
from pipeline.sinks.shards import ShardWriter, read_shard, sample_count
from pipeline.storage.storage import Storage

ROWS_AT_ONCE = 100_000

logger = logging.getLogger(__name__)


def repack(manifest: Manifest, sink: Storage, lease: Lease, counts: Mapping[str, int] | None = None) -> None:
    """Bring the shards of a sink to exactly the results that its manifest names.

    Args:
        manifest: complete, and only changed by the caller.
        sink: where it lies.
        lease: of the caller, for the whole sink.
        counts: results that rows name in each file, where the caller knows.
    """
    counts = _result_counts(manifest) if counts is None else counts
    if elsewhere := next((uri for uri in counts if not sink.holds(uri)), None):
        logger.warning(
            "rows of %s name results elsewhere, such as %s: the sink was copied, moved or renamed; no shard is deleted",
            sink,
            elsewhere,
        )
        return
    shards = {sink.uri(file.key): file.key for file in sink.list_files(FOLDER) if sample_count(file.key) is not None}
    thinned = {uri: key for uri, key in shards.items() if 0 < counts.get(uri, 0) < (sample_count(key) or 0)}
    named = set(counts) - set(thinned)
    if thinned:
        logger.info("rewriting %d shards that hold replaced results", len(thinned))
        for rows in _rows_in(manifest, thinned):
            moved = _moved(sink, thinned[rows["output_uri"][0].as_py()], rows)
            manifest.append(moved)
            named.add(moved["output_uri"][0].as_py())  # after a crash it may be among the shards found
    if unnamed := shards.keys() - named:
        # Fails if this run was suspended and rows name the shards by now; makes commits of suspended runs fail.
        manifest.fence()
        for uri in unnamed:
            lease.check()  # drivers of slices do not write where the fence is
            sink.delete(shards[uri])


def _result_counts(manifest: Manifest) -> dict[str, int]:
    """Return the number of results that rows name in each file."""
    with Database() as database:
        manifest.load_into(database, ["sample_id", "output_uri"])
        return dict(database.run("SELECT output_uri, count(*) FROM rows WHERE output_uri IS NOT NULL GROUP BY ALL"))


def _rows_in(manifest: Manifest, shards: dict[str, str]) -> Iterable[pa.Table]:
    """Yield the current rows of each shard."""
    with Database() as database:
        manifest.load_into(database, MANIFEST_SCHEMA.names)
        query = "SELECT * EXCLUDE (part, position) FROM rows WHERE output_uri = $uri"
        for uri in shards:
            yield pa.concat_tables(database.stream(query, ROWS_AT_ONCE, {"uri": uri})).cast(MANIFEST_SCHEMA)


def _moved(sink: Storage, key: str, rows: pa.Table) -> pa.Table:
    """Write a shard of those samples that rows name, and return the rows as they name the new one."""
    wanted = set(rows["output_member"].to_pylist())
    with ShardWriter(key[key.rindex(".") :]) as writer:
        members = {}
        with sink.open(key) as file:
            for member in read_shard(key, file):
                if member.name in wanted:
                    members[member.name] = writer.take_over(member)
        new_key = f"{FOLDER}/{writer.finish()}"
        sink.upload(new_key, writer.path)
    names = pa.array([members[name] for name in rows["output_member"].to_pylist()], pa.string())
    uris = pa.array([sink.uri(new_key)] * rows.num_rows, pa.string())
    for column, values in (("output_uri", uris), ("output_member", names)):
        rows = rows.set_column(rows.schema.get_field_index(column), MANIFEST_SCHEMA.field(column), values)
    return rows
