"""Turns rows of a table into objects: one per row, several in lists beside each other, or in a column of their own."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.config.shapes import BOX, POLYGON, RLE
from pipeline.masks.shapes.columns import ShapeColumns
from pipeline.masks.shapes.tables import Row

FAULT = "fault"  # key of an element that cannot be drawn


def fields_of(value: Any) -> list[str]:
    """Return the names of the fields of the objects in a column of objects."""
    value = parsed(value)
    if isinstance(value, Mapping):
        return list(value)
    return list(dict.fromkeys(name for one in value or () if isinstance(one, Mapping) for name in one))


def objects_in(row: Row, columns: ShapeColumns) -> list[Row]:
    """Return the objects of a row, each with the other columns of the row.

    An object that cannot be read has the key ``fault``, with the reason.
    """
    if columns.objects is None:
        lists = _parallel(row, columns)
        return _side_by_side(row, lists) if lists else [row]
    try:
        value = parsed(row.get(columns.objects))
    except ValueError as error:
        return [{FAULT: f"{columns.objects} is not JSON: {error}"}]
    others = {name: one for name, one in row.items() if name != columns.objects}
    if value is None:
        return []
    if isinstance(value, Mapping):
        return _side_by_side({**others, **value}, [name for name, one in value.items() if isinstance(one, list)])
    if not isinstance(value, Sequence) or isinstance(value, str):
        return [{FAULT: f"{columns.objects} holds no list of objects, but {str(value)[:40]!r}"}]
    return [
        {**others, **one} if isinstance(one, Mapping) else {FAULT: f"{str(one)[:40]!r} is not an object"}
        for one in value
    ]


def element_of(found: Row, columns: ShapeColumns) -> dict[str, Any] | None:
    """Return what of an object is drawn: its run lengths or polygon, else its box; ``None`` if it has no shape."""
    if FAULT in found:
        return {FAULT: found[FAULT]}
    for role in (RLE, POLYGON, BOX):
        name = columns.shapes.get(role)
        if name is None:
            continue
        value: Any = found.get(name) if isinstance(name, str) else [found.get(one) for one in name]
        is_absent = value is None or (hasattr(value, "__len__") and not len(value))
        if not is_absent and not (isinstance(name, tuple) and all(one is None for one in value)):
            return {role: value}
    return None


def score_of(found: Row, columns: ShapeColumns) -> float | None:
    """Return the score of an object, if it has one."""
    try:
        score = float(found[columns.score]) if columns.score else math.nan
    except (KeyError, TypeError, ValueError):
        return None
    return score if math.isfinite(score) else None


def as_text(element: Mapping[str, Any]) -> str:
    """Return an object as JSON."""
    return json.dumps(element, default=_plain)


def parsed(value: Any) -> Any:
    """Return a value of a text column as what its JSON says; any other value as it is."""
    return json.loads(value) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    """Return bytes, such as compressed run lengths, and exact numbers as what JSON has."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _parallel(row: Row, columns: ShapeColumns) -> list[str]:
    """Return the columns of a row that are lists of one value per object; empty if the row is one object."""
    names = [*_corners(columns), *filter(None, [columns.score])]
    lists = [name for name in names if isinstance(row.get(name), list)]
    for role, item in ((BOX, (list, Mapping)), (RLE, (str, bytes, Mapping))):
        name = columns.shapes.get(role)
        value = row.get(name) if isinstance(name, str) else None
        if isinstance(value, list) and value and all(isinstance(one, item) for one in value):
            lists.append(str(name))
    if not lists:
        return []
    length = len(row[lists[0]])
    return [name for name, value in row.items() if isinstance(value, list) and (name in lists or len(value) == length)]


def _corners(columns: ShapeColumns) -> Sequence[str]:
    box = columns.shapes.get(BOX)
    return box if isinstance(box, tuple) else ()


def _side_by_side(row: Row, lists: Sequence[str]) -> list[Row]:
    lengths = {name: len(row[name]) for name in lists}
    if len(set(lengths.values())) > 1:
        sizes = ", ".join(f"{name} has {length}" for name, length in sorted(lengths.items()))
        return [{FAULT: f"lists of one row must be equally long, but {sizes}"}]
    return list(_zipped(row, lists))


def _zipped(row: Row, lists: Sequence[str]) -> Iterator[Row]:
    for values in zip(*(row[name] for name in lists), strict=True):
        yield {**row, **dict(zip(lists, values, strict=True))}
