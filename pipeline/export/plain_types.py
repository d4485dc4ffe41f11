"""Types and values of carried columns in exports, all of which every table format can hold."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pyarrow as pa
from pyarrow import types

from pipeline.sinks.carried_json import json_value

# By what a type is, its plain one; None: it is plain itself.
_PLAIN: tuple[tuple[Callable[[pa.DataType], bool], pa.DataType | None], ...] = (
    (types.is_null, None),
    (types.is_boolean, None),
    (types.is_uint64, pa.decimal128(20, 0)),
    (types.is_integer, pa.int64()),
    (types.is_float16, pa.float32()),
    (types.is_floating, None),
    (types.is_decimal128, None),
    (types.is_binary, None),
    (types.is_large_binary, pa.binary()),
    (types.is_fixed_size_binary, pa.binary()),
    (types.is_date, pa.date32()),
)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type in which values of another are exported; text (JSON) where no table format has a like one."""
    for matches, plain in _PLAIN:
        if matches(kind):
            return plain or kind
    if types.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC" if kind.tz else None)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        item = plain_type(kind.value_type)
        return pa.string() if types.is_null(item) else pa.list_(item)
    if types.is_struct(kind) and kind.num_fields:
        inner = [plain_type(field.type) for field in kind]
        if not any(map(types.is_null, inner)):
            return pa.struct([(field.name, plain) for field, plain in zip(kind, inner, strict=True)])
    return pa.string()


def plain_schema(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """Return the columns of all schemas in types that hold the values of each; text where their types disagree."""
    found: dict[str, pa.DataType] = {}
    for schema in schemas:
        for field in schema:
            found[field.name] = _joint(found.get(field.name, pa.null()), plain_type(field.type))
    return pa.schema([(name, pa.string() if types.is_null(kind) else kind) for name, kind in found.items()])


def _joint(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    try:
        schemas = [pa.schema([("x", kind)]) for kind in (one, other)]
        return plain_type(pa.unify_schemas(schemas, promote_options="permissive").field("x").type)
    except pa.ArrowException:
        return pa.string()


def plain_value(value: Any, kind: pa.DataType) -> Any:
    """Convert a carried value to what an array of a plain type takes.

    Args:
        value: a scalar of Arrow, or text, bytes or a value of JSON.
        kind: from :func:`plain_schema`.

    Raises:
        ValueError, TypeError, ArrowException: the type cannot hold it.
    """
    if isinstance(value, pa.Scalar):
        if not value.is_valid:
            return None
        if kind != pa.string() or types.is_string(value.type) or types.is_large_string(value.type):
            is_safe = types.is_integer(value.type) and types.is_floating(kind)  # a large integer is not rounded
            return pa.array([value.as_py()], value.type).cast(kind, safe=is_safe)[0].as_py()
        value = json_value(value)
    if value is None:
        return None
    if kind == pa.binary():
        return value if isinstance(value, bytes) else _text(value).encode()
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def untyped_schema(samples: Iterable[Mapping[str, Any]]) -> pa.Schema:
    """Return types of carried columns that have none in the sink, from some samples.

    Text, or bytes where a value is no text.
    """
    found: dict[str, pa.DataType] = {}
    for sample in samples:
        for name, value in sample.items():
            is_text = found.get(name, pa.string()) == pa.string() and _is_text(value)
            found[name] = pa.string() if is_text else pa.binary()
    return pa.schema(list(found.items()))


def _is_text(value: Any) -> bool:
    try:
        return not isinstance(value, bytes) or value.decode() is not None
    except UnicodeDecodeError:
        return False
