"""Decodes Arrow values from writer-specific encodings, and formats times of any year as text."""

import numpy as np
import pyarrow as pa

NS_OF_US = 1000


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the equivalent type without views and dictionaries, also inside structs and lists."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(plain_type(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(plain_type(kind.key_type), kind.item_field.with_type(plain_type(kind.item_type)))
    if not pa.types.is_list(kind) and not pa.types.is_large_list(kind) and not pa.types.is_fixed_size_list(kind):
        return kind
    item = kind.value_field.with_type(plain_type(kind.value_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(item, kind.list_size)
    return pa.list_(item) if pa.types.is_list(kind) else pa.large_list(item)


def plain(values: pa.Array) -> pa.Array:
    """Return values as their :func:`plain_type`."""
    kind, target = values.type, plain_type(values.type)
    if kind == target:
        return values
    if pa.types.is_dictionary(kind):  # PyArrow takes no values out of a dictionary of views
        return pa.DictionaryArray.from_arrays(values.indices, plain(values.dictionary)).dictionary_decode()
    if pa.types.is_struct(kind):  # PyArrow's cast fails where a dictionary inside is null
        children = [plain(child) for child in values.flatten()]
        return pa.StructArray.from_arrays(children, fields=list(target), mask=values.is_null())
    return values.cast(target)


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return a schema with each field as its :func:`plain_type`; fields keep their metadata."""
    return pa.schema([field.with_type(plain_type(field.type)) for field in schema])


def plain_row(row: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a record batch as the :func:`plain_schema` of its own."""
    if row.schema.equals(schema):
        return row
    return pa.record_batch([plain(column) for column in row.columns], schema=schema)


def time_text(value: pa.Scalar) -> str:
    """Return a date, a time, a timestamp or a duration as text.

    It is Python's text of the value, or NumPy's (of a timestamp in UTC) where Python cannot hold it exactly.
    """
    kind = value.type
    if getattr(kind, "unit", "") != "ns" or value.value % NS_OF_US == 0:
        try:
            return str(value.as_py())
        except (ValueError, OverflowError):
            pass  # a year that Python does not know
    if pa.types.is_time(kind):
        return str(value.cast(pa.string()))
    if pa.types.is_duration(kind):
        return str(np.timedelta64(value.value, kind.unit))
    if pa.types.is_date32(kind):
        return str(np.datetime64(value.value, "D"))
    if pa.types.is_date64(kind):
        return str(np.datetime64(value.value, "ms").astype("M8[D]"))
    return str(np.datetime64(value.value, kind.unit)).replace("T", " ") + ("+00:00" if kind.tz else "")
