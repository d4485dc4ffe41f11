"""Carried columns of tar shards: bytes become members, other values go into the sample's JSON."""

import json
import math
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from pipeline.errors import SampleError
from pipeline.sources.arrow_values import time_text

JSON = "json"  # the column or member whose text is taken for what it says


def split_row(row: pa.RecordBatch) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Split a row into members and JSON values, without nulls.

    Raises:
        SampleError: a column, named in the message, holds a value that JSON cannot represent.
    """
    members: dict[str, bytes] = {}
    described: dict[str, Any] = {}
    for name, column in zip(row.schema.names, row.columns, strict=True):
        with _naming(name):
            content = column[0].as_py() if _is_binary(column.type) else json_value(column[0])
            if name == JSON and isinstance(content, str | bytes):
                described[name] = _checked(json.loads(content))
            elif isinstance(content, bytes):
                if "/" in name:
                    raise ValueError("its name has a slash, which no extension of a member has")
                members[name] = content
            elif content is not None:
                described[name] = content
    return members, described


def as_json(described: Mapping[str, Any]) -> bytes:
    """Serialize the JSON values of :func:`split_row`."""
    text = json.dumps(described, ensure_ascii=False, allow_nan=False)
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a pair of surrogates, which JSON can only escape
        return json.dumps(described).encode()


@contextmanager
def _naming(column: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, OverflowError, RecursionError, pa.ArrowException) as error:
        message = f"sink.carry: the value of {column} does not go into the JSON of a tar: {error}"
        raise SampleError("write", "UncarriedValue", message) from error


def json_value(value: pa.Scalar) -> Any:
    """Convert a value to JSON types; NaN becomes null.

    Raises:
        ValueError, TypeError: JSON cannot represent it.
    """
    kind = value.type
    if not value.is_valid:
        return None
    if isinstance(kind, pa.BaseExtensionType):
        return _of_extension(value)
    if pa.types.is_struct(kind):
        return {field.name: json_value(value[index]) for index, field in enumerate(kind)}
    if pa.types.is_map(kind):
        return [[json_value(pair[0]), json_value(pair[1])] for pair in value.values]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return [json_value(item) for item in value.values]
    if pa.types.is_decimal(kind):
        return str(value.as_py())
    if pa.types.is_float16(kind):
        return _checked(float(value.as_py()))  # which NumPy's number may be
    is_time = pa.types.is_temporal(kind) and not pa.types.is_interval(kind)
    return time_text(value) if is_time else _checked(value.as_py())


def _of_extension(value: pa.ExtensionScalar) -> Any:
    if isinstance(value.type, pa.FixedShapeTensorType):
        return _checked(value.to_numpy().tolist())
    content = value.as_py()
    if isinstance(content, uuid.UUID):
        return str(content)
    return _checked(content.tolist() if hasattr(content, "tolist") else content)  # a tensor of another library


def _checked(content: Any) -> Any:
    """Replace each NaN in a JSON value with null.

    Raises:
        ValueError, TypeError: it holds a value that JSON cannot represent.
    """
    if isinstance(content, Mapping):
        return {name: _checked(part) for name, part in content.items()}
    if isinstance(content, list | tuple):
        return [_checked(part) for part in content]
    if isinstance(content, float) and math.isnan(content):
        return None
    if isinstance(content, float) and math.isinf(content):
        raise ValueError(f"JSON has no number {content}; a Parquet sink carries it")
    if content is None or isinstance(content, str | int | float):
        return content
    raise TypeError(f"JSON holds no {type(content).__name__}; a Parquet sink carries it")


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
