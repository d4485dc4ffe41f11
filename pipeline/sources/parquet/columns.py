"""Checks which columns of a Parquet file can hold images, masks and names, and reads the names."""

import math
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.sources.arrow_values import plain_type, time_text

MAX_KEY_LENGTH = 4096  # no storage takes a longer name


def check_columns(schema: pa.Schema, columns: list[str], file: str) -> None:
    """Refuse a file that lacks a column, or has two of its name.

    Raises:
        ConfigError: the message lists the existing columns.
    """
    if missing := [column for column in columns if column not in schema.names]:
        raise ConfigError(f"{file} has no column {', '.join(missing)}; it has {', '.join(schema.names)}")
    if several := [column for column in columns if schema.names.count(column) > 1]:
        raise ConfigError(f"{file} has several columns {several[0]}; each needs a name of its own")


def is_list(kind: pa.DataType) -> bool:
    """Return whether values are lists."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def check_pictures(column: pa.Field, file: str, may_be_list: bool = False) -> None:
    """Refuse a column that cannot hold images or masks; an all-null column is accepted.

    Args:
        column: of the file.
        file: for messages.
        may_be_list: whether a row may hold several, in a list.

    Raises:
        ConfigError: naming the type that it has.
    """
    kind = plain_type(column.type)
    if may_be_list and is_list(kind):
        kind = kind.value_type
    if not pa.types.is_struct(kind):
        if not _is_binary(kind) and not _is_text(kind):
            raise ConfigError(
                f"{file}: images must be bytes, {{bytes, path}} or uris, but the column {column.name} is {kind}"
            )
        return
    if [field.name for field in kind].count("bytes") != 1:
        raise ConfigError(f"{file}: a struct of images needs a field bytes, but {column.name} is {kind}")
    path = kind.field("path").type if kind.get_field_index("path") >= 0 else pa.null()
    if not _is_binary(kind.field("bytes").type) or not _is_text(path):
        raise ConfigError(f"{file}: a struct of images must hold bytes and a text path, but {column.name} is {kind}")


def check_keys(column: pa.Field, file: str) -> None:
    """Refuse a column that cannot hold names.

    Raises:
        ConfigError: naming the type that it has.
    """
    kind = plain_type(column.type)
    if pa.types.is_nested(kind) or (isinstance(kind, pa.BaseExtensionType) and pa.types.is_nested(kind.storage_type)):
        raise ConfigError(
            f"{file}: names must be text, bytes, numbers or dates, but source.key={column.name} is {kind}"
        )


def check_json(column: pa.Field, file: str) -> None:
    """Refuse a carried column for the JSON of tar shards that has bytes inside lists or structs.

    Raises:
        ConfigError: naming the type that it has.
    """
    kind = plain_type(column.type)
    if pa.types.is_nested(kind) and _has_bytes(kind):
        raise ConfigError(f"{file}: sink.carry: the JSON of a tar cannot hold bytes, but {column.name} is {kind}")


def key_values(column: pa.Array) -> Iterator[Any]:
    """Yield the values of a column of names as Python values, or as bytes or text where Python has no equivalent."""
    if not pa.types.is_dictionary(column.type):
        yield from _python_values(column)
        return
    values = _python_values(column.dictionary)
    for index in column.indices.to_pylist():
        yield None if index is None else values[index]


def key_fault(key: Any) -> tuple[str, str] | None:
    """Return why a value is no name, as an error type and the end of a sentence; ``None`` if it is one."""
    if key is None:
        return "MissingKey", "is null"
    if key in ("", b""):
        return "MissingKey", "is empty"
    if isinstance(key, float) and math.isnan(key):
        return "MissingKey", "is not a number (NaN)"
    if isinstance(key, bytes | str) and len(key) > MAX_KEY_LENGTH:
        return "UnusableName", f"has more than {MAX_KEY_LENGTH} characters"
    return None


def _python_values(values: pa.Array) -> list[Any]:
    try:
        return values.to_pylist()
    except (ValueError, OverflowError):
        return [_python_value(value) for value in values]


def _python_value(value: pa.Scalar) -> Any:
    try:
        return value.as_py()
    except UnicodeDecodeError:
        return value.cast(pa.binary()).as_py()
    except (ValueError, OverflowError):
        return time_text(value)


def _has_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_nested(kind):
        return any(_has_bytes(kind.field(index).type) for index in range(kind.num_fields))
    return pa.types.is_fixed_size_binary(kind) or (_is_binary(kind) and not pa.types.is_null(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_null(kind)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)
