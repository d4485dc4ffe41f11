"""Carried columns of a list: one row per sample travels with the plan, as bytes of Arrow.

Arrow's own stream keeps every type, including nested, decimal and extension types, which JSON would not. Each sample
has the schema too, since files of a list may differ in their types.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from pipeline.sources.arrow_values import plain_row, plain_schema
from pipeline.sources.inputs import NOTHING_CARRIED
from pipeline.sources.versions import carried_version

MAX_BYTES = 64 << 10  # of one row: it is in the plan, in the queue of the cluster and in a worker's unit
_VERSION_DIGITS = 16


def as_text_columns(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return columns of a CSV file, which were read as bytes, as text; what is no UTF-8 stays as it is."""
    return pa.record_batch([column.view(pa.string()) for column in rows.columns], names=rows.schema.names)


def pack_rows(rows: pa.RecordBatch) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Pack each row as an Arrow stream; return these, the rows' parts of the version, and why rows cannot be carried.

    Args:
        rows: of the carried columns.

    Returns:
        Bytes, text such as `` carried:…``, and faults, null where there is none; rows with a fault have no bytes.
    """
    schema = plain_schema(rows.schema.remove_metadata())  # which differs from part to part
    rows = plain_row(rows.replace_schema_metadata(None), schema)
    head = schema.serialize().to_pybytes()
    packed = [head + rows.slice(row, 1).serialize().to_pybytes() for row in range(len(rows))]
    names = _digest(sorted(schema.names))
    versions = [carried_version(names, _digest(values)) for values in _values(rows)]
    faults = [_fault(data) for data in packed]
    kept = [None if fault else data for data, fault in zip(packed, faults, strict=True)]
    return pa.array(kept, pa.binary()), pa.array(versions, pa.string()), pa.array(faults, pa.string())


def unpack_row(packed: bytes | None) -> pa.RecordBatch:
    """Decode the row that :func:`pack_rows` has packed; ``None`` gives a row without columns."""
    return NOTHING_CARRIED if packed is None else pa.ipc.open_stream(packed).read_next_batch()


def _fault(packed: bytes) -> str | None:
    if len(packed) <= MAX_BYTES:
        return None
    return (
        f"TooManyBytes: the columns of sink.carry have {len(packed)} bytes in this row of the list, which may have "
        f"{MAX_BYTES}; carry shorter ones, or put the images into Parquet files (source.format=parquet)"
    )


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode("utf-8", "surrogatepass")).hexdigest()[:_VERSION_DIGITS]


def _values(rows: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    """Yield the values of each row; Arrow's bytes differ between its releases and with other rows."""
    return zip(*(_column_values(column) for column in rows.columns), strict=True)


def _column_values(column: pa.Array) -> list[Any]:
    try:
        return column.to_pylist()
    except (ValueError, OverflowError):  # text that is no UTF-8, a year that Python does not know
        return [_value(column, row) for row in range(len(column))]


def _value(column: pa.Array, row: int) -> Any:
    try:
        return column[row].as_py()
    except (ValueError, OverflowError):
        alone = pa.record_batch([column.take(pa.array([row]))], names=[""])
        return alone.serialize().to_pybytes()
