"""The columns of a list: which are read, and their values as text, sizes, versions and boxes."""

import json
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.sources.arrow_values import plain
from pipeline.sources.parquet.columns import is_list
from pipeline.sources.versions import UNCHECKED
from pipeline.sources.wanted import Wanted

KEY, MASK, BOXES = "key", "mask", "boxes"
CARRIED = "carried "  # begins the role of a column that only goes with the results
_PARTS = ("size", "etag", "last_modified")


def wanted_columns(wanted: Wanted) -> tuple[dict[str, str], set[str]]:
    """Return the names of the columns that a job may read, by role, and the roles of those that must be there."""
    named, mask = wanted.source.columns, wanted.mask.path_column
    roles = {KEY: wanted.source.key or KEY, **{part: str(named.get(part, part)) for part in _PARTS}}
    if mask:
        roles |= {MASK: mask, **{f"mask_{part}": str(named.get(f"mask_{part}", f"mask_{part}")) for part in _PARTS}}
    if wanted.mask.box_column:
        roles[BOXES] = wanted.mask.box_column
    carried = {f"{CARRIED}{name}": name for name in wanted.carried}
    return roles | carried, {KEY, MASK, BOXES, *named, *carried}


def present_columns(
    roles: Mapping[str, str], required: set[str], names: Sequence[str], file: str, keys: Mapping[str, str]
) -> dict[str, str]:
    """Return the columns that a file has, by role.

    Args:
        roles: columns to look for.
        required: roles of those that must be there.
        names: of the columns of the file.
        file: for messages.
        keys: of the configuration that name a column, by role.

    Raises:
        ConfigError: a required column is missing, or there are two of a name.
    """
    for role, name in roles.items():
        if role in required and name not in names:
            raise ConfigError(
                f"{file} has no column {name}; it has {', '.join(names)}: name the right one in {keys[role]}"
            )
        if names.count(name) > 1:
            raise ConfigError(f"{file} has several columns {name}; each needs a name of its own")
    return {role: name for role, name in roles.items() if name in names}


def as_text(column: pa.Array, name: str, file: str) -> tuple[pa.Array, pa.Array | None]:
    """Return a column as text, and which rows are not UTF-8; ``None`` if all are.

    Raises:
        ConfigError: the column holds lists, structs or numbers.
    """
    values = plain(column)
    if pa.types.is_null(values.type):
        return values.cast(pa.string()), None
    if pa.types.is_large_string(values.type) or pa.types.is_large_binary(values.type):
        values = values.cast(pa.string() if pa.types.is_large_string(values.type) else pa.binary())
    if not pa.types.is_string(values.type) and not pa.types.is_binary(values.type):
        raise ConfigError(f"{file}: the column {name} must hold text, but it is {column.type}: convert it to text")
    try:
        text = values.cast(pa.string())
        text.validate(full=True)
        return text, None
    except pa.ArrowInvalid:
        pass
    rows = values.cast(pa.binary()).to_pylist()
    decoded = [None if row is None else row.decode("utf-8", "backslashreplace") for row in rows]
    pairs = zip(rows, decoded, strict=True)
    broken = [row is not None and row.decode("utf-8", "replace") != text for row, text in pairs]
    return pa.array(decoded, pa.string()), pa.array(broken)


def as_sizes(column: pa.Array, name: str, file: str) -> pa.Array:
    """Return a column of sizes in bytes as int64; empty text and NaN are null.

    Raises:
        ConfigError: a value is no size.
    """
    values = plain(column)
    try:
        if pa.types.is_string(values.type) or pa.types.is_binary(values.type) or pa.types.is_large_string(values.type):
            text = pc.utf8_trim_whitespace(values.cast(pa.string()))
            values = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
        elif pa.types.is_floating(values.type):
            values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
        sizes = values.cast(pa.int64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _no_sizes(name, file, str(error).splitlines()[0]) from error
    if (smallest := pc.min(sizes).as_py()) is not None and smallest < 0:
        raise _no_sizes(name, file, f"{smallest} is negative")
    return sizes


def _no_sizes(name: str, file: str, reason: str) -> ConfigError:
    role = "source.columns.size"
    return ConfigError(f"{file}: the column {name} must hold sizes in bytes: {reason}; name another one in {role}")


def versions(etags: pa.Array, sizes: pa.Array, changed: pa.Array, is_checked: bool) -> pa.Array:
    """Return the version of each file: its etag, else size and time of change; empty where there is neither.

    Args:
        etags, sizes, changed: text, int64, text; nulls and empty text are unknown.
        is_checked: the storage has the same etags; all other versions are marked as ``UNCHECKED``.
    """
    etag, changed = pc.fill_null(pc.utf8_trim(etags, '"'), ""), pc.fill_null(changed, "")
    has_etag = pc.not_equal(etag, "")
    tagged = etag if is_checked else pc.binary_join_element_wise(UNCHECKED, etag, "")
    if pc.all(has_etag).as_py():
        return tagged
    size = pc.fill_null(sizes.cast(pa.string()), "")
    dated = pc.binary_join_element_wise(pc.binary_join_element_wise(UNCHECKED, size, ""), changed, "-")
    return pc.if_else(has_etag, tagged, pc.if_else(pc.equal(changed, ""), "", dated))


def time_texts(column: pa.Array) -> pa.Array:
    """Return times of change as text; they are only compared with themselves."""
    values = plain(column)
    if pa.types.is_binary(values.type):
        return pa.array([None if row is None else row.decode("utf-8", "replace") for row in values.to_pylist()])
    return values.cast(pa.string())


def as_specs(column: pa.Array, name: str, file: str) -> pa.Array:
    """Return a column of boxes, as lists or as text of JSON, as the text that annotations have in a plan.

    Raises:
        ConfigError: the column holds neither.
    """
    values = plain(column)
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type) or pa.types.is_fixed_size_list(values.type):
        rows = values.to_pylist()
        specs = [None if boxes is None else json.dumps([{BOXES: boxes}], default=str) for boxes in rows]
        return pa.array(specs, pa.string())
    try:
        text, _ = as_text(values, name, file)
    except ConfigError as error:
        message = f"{file}: the column {name} must hold boxes, as lists or as JSON, but it is {column.type}"
        raise ConfigError(message) from error
    text = pc.if_else(pc.equal(pc.utf8_trim_whitespace(text), ""), pa.scalar(None, pa.string()), text)
    return pc.binary_join_element_wise('[{"boxes": ', text, "}]", "")


def several_paths(column: pa.Array, name: str, file: str) -> tuple[pa.Array, pa.Array] | None:
    """Return the first path of each list of masks, and the list as the plan has it; ``None`` for a column of text.

    Raises:
        ConfigError: the lists hold something else than text.
    """
    values = plain(column)
    if not is_list(values.type):
        return None
    if not pa.types.is_null(values.type.value_type):
        as_text(values.flatten(), name, file)
    rows = [None if row is None else [path for path in row if path] for row in values.to_pylist()]
    first = [row[0] if row else ("" if row == [] else None) for row in rows]
    specs = [
        None if row is None else json.dumps([{"key": path, "version": "", "size_bytes": 0} for path in row])
        for row in rows
    ]
    return pa.array(first, pa.string()), pa.array(specs, pa.string())
