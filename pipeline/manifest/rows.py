"""Rows of several parts, and which of them later rows of their samples replace."""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.database import Database
from pipeline.manifest.parts import BATCH_ROWS, open_part
from pipeline.records import MANIFEST_SCHEMA
from pipeline.storage.storage import Storage

MAX_WANTED = 100_000  # names that statistics of row groups are compared with
POSITION = [pa.field("part", pa.int64()), pa.field("position", pa.int64())]
_IDS = pa.schema([MANIFEST_SCHEMA.field("sample_id"), *POSITION])

NumberedParts = Iterable[tuple[int, str]]  # number of a part in order, and its key


def scan(
    storage: Storage, parts: NumberedParts, schema: pa.Schema, wanted: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of parts, with the number of the part and the position in it as the last columns of the schema.

    Args:
        storage: of the manifest.
        parts: to read.
        schema: of the batches.
        wanted: sorted names; row groups are skipped whose statistics show that they hold none of them.
    """
    for number, key in parts:
        start = 0
        with open_part(storage, key) as part:
            for group in range(part.num_row_groups):
                first = start
                start += part.metadata.row_group(group).num_rows
                if wanted is not None and not _may_hold(part, group, wanted):
                    continue
                for batch in part.iter_batches(BATCH_ROWS, [group], schema.names[: -len(POSITION)]):
                    positions = np.arange(first, first + len(batch))
                    first += len(batch)
                    columns = [*_columns(batch, schema), pa.array(np.full(len(batch), number)), pa.array(positions)]
                    yield pa.record_batch(columns, schema=schema)


def _may_hold(part: pq.ParquetFile, group: int, wanted: Sequence[str]) -> bool:
    """Return whether a row group may hold one of some sorted names."""
    column = part.schema_arrow.get_field_index("sample_id")
    statistics = part.metadata.row_group(group).column(column).statistics
    if statistics is None or not statistics.has_min_max:
        return True
    found = bisect_left(wanted, statistics.min)
    return found < len(wanted) and wanted[found] <= statistics.max


def replaced_rows(database: Database, compacted: int) -> str:
    """Return the SQL of the rows of the table ``rows`` that later ones replace, ready for ``SELECT``.

    Args:
        database: with the table, which has ``part``; gets the table ``latest``.
        compacted: number of the first part whose samples may be in earlier ones.
    """
    database.run(
        "CREATE OR REPLACE TABLE latest AS "
        f"SELECT sample_id, max(part) AS part FROM rows WHERE part >= {compacted} GROUP BY sample_id"
    )
    return "FROM rows JOIN latest ON rows.sample_id = latest.sample_id AND rows.part < latest.part"


def superseded(
    storage: Storage, parts: Sequence[str], compacted: int, removed: Collection[str]
) -> dict[int, np.ndarray]:
    """Return positions, by part, of rows that a later part replaces, and of rows of some samples.

    Args:
        storage: of the manifest.
        parts: that count, in order.
        compacted: number of parts at the beginning in which no sample is twice.
        removed: names of samples.
    """
    numbered = list(enumerate(parts))
    with Database() as database:
        database.create("rows", _IDS, scan(storage, numbered[compacted:], _IDS))
        replaced = replaced_rows(database, compacted)
        database.run("CREATE TABLE removed AS SELECT unnest($names::VARCHAR[]) AS sample_id", {"names": list(removed)})
        database.run("CREATE TABLE named AS FROM removed UNION SELECT sample_id FROM latest")
        ((count,),) = database.run("SELECT count(*) FROM named")
        few = [name for (name,) in database.run("FROM named ORDER BY ALL")] if count <= MAX_WANTED else None
        query = "FROM incoming WHERE sample_id IN (FROM named)"
        database.create("earlier", _IDS, scan(storage, numbered[:compacted], _IDS, few), query)
        found = database.run(
            "SELECT part, list(DISTINCT position) FROM ("
            f"SELECT rows.part, position {replaced} UNION ALL SELECT part, position FROM earlier "
            "UNION ALL SELECT part, position FROM rows WHERE sample_id IN (FROM removed)) GROUP BY part"
        )
    return {part: np.array(positions) for part, positions in found}


def kept_rows(
    storage: Storage, parts: NumberedParts, dropped: dict[int, np.ndarray], rows_at_once: int
) -> Iterator[pa.Table]:
    """Yield all rows of parts except the dropped ones, in tables of bounded size."""
    waiting: list[pa.RecordBatch] = []
    for batch in scan(storage, parts, pa.schema([*MANIFEST_SCHEMA, *POSITION])):
        part, positions = batch["part"][0].as_py(), batch["position"].to_numpy()
        kept = ~np.isin(positions, dropped.get(part, []))
        waiting.append(batch.filter(pa.array(kept)).select(MANIFEST_SCHEMA.names))
        if sum(map(len, waiting)) >= rows_at_once:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if sum(map(len, waiting)):
        yield pa.Table.from_batches(waiting)


def _columns(batch: pa.RecordBatch, schema: pa.Schema) -> Iterator[pa.Array]:
    """Columns of a schema except part and position; a column that an earlier version did not write is null."""
    written = set(batch.schema.names)
    for column in list(schema)[: -len(POSITION)]:
        yield batch[column.name] if column.name in written else pa.nulls(len(batch), column.type)
