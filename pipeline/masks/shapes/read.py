"""Reads tables of objects and gathers the objects of each image, in tables that may be larger than memory."""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from itertools import groupby
from typing import Any

import pyarrow as pa

from pipeline.config.mask import MaskConfig
from pipeline.database import Database, in_batches
from pipeline.errors import ConfigError
from pipeline.expressions import Condition
from pipeline.masks.shapes.columns import ShapeColumns, find_columns
from pipeline.masks.shapes.rows import FAULT, as_text, element_of, fields_of, objects_in, score_of
from pipeline.masks.shapes.tables import Row, read_rows, table_keys
from pipeline.storage.storage import Storage

ENTRIES_AT_ONCE = 20_000
ROWS_WITHOUT_NAME, OBJECTS_FILTERED = "rows without a name", "objects that mask.where leaves out"
_ENTRIES = pa.schema([("name", pa.string()), ("element", pa.string()), ("score", pa.float64())])
_Entry = tuple[str, str | None, float | None]


class ShapeReader:
    """Reads the tables of ``mask.uri``.

    Args:
        config: names of columns, format of boxes, and the condition.
        storage: folder of the tables, or the one file.
        pattern: glob of their names, if there is one.

    Raises:
        ConfigError: ``mask.where`` is not one expression.
    """

    def __init__(self, config: MaskConfig, storage: Storage, pattern: str | None) -> None:
        self._config, self._storage, self._pattern = config, storage, pattern
        self._where = None if config.where is None else Condition("mask.where", config.where)
        self.left_out: Counter[str] = Counter()

    def check(self) -> None:
        """Read the first rows, to find faults of the configuration early.

        Raises:
            ConfigError: no table, a missing column, or a condition that does not fit.
        """
        next(self._entries(table_keys(self._storage, self._pattern)[0]), None)

    def annotations(self) -> Iterator[tuple[str, str]]:
        """Yield each named image once, with its objects and the highest score as JSON.

        Raises:
            ConfigError: a table cannot be read, or lacks a column.
        """
        self.left_out.clear()
        entries = (entry for key in table_keys(self._storage, self._pattern) for entry in self._entries(key))
        with Database() as database:
            database.create("entries", _ENTRIES, in_batches(entries, _ENTRIES, ENTRIES_AT_ONCE))
            ordered = database.stream("FROM entries ORDER BY name, element, score", ENTRIES_AT_ONCE)
            rows = (
                row
                for table in ordered
                for row in zip(*(table[name].to_pylist() for name in _ENTRIES.names), strict=True)
            )
            for name, found in groupby(rows, key=lambda row: row[0]):
                shapes = [(element, score) for _, element, score in found if element is not None]
                best = max((score for _, score in shapes if score is not None), default=None)
                yield (
                    name,
                    f'{{"objects": [{", ".join(element for element, _ in shapes)}], "score": {json.dumps(best)}}}',
                )

    def _entries(self, key: str) -> Iterator[_Entry]:
        """Yield the objects of a file, and a name without an object for each row that has none left."""
        file, seen = self._storage.uri(key), dict[str, None]()
        columns: ShapeColumns | None = None
        for rows in read_rows(self._storage, key, lambda names: self._wanted(names, file)):
            seen |= dict.fromkeys(name for row in rows for name in row)
            columns = self._columns(list(seen), rows, file, columns)
            yield from self._of_rows(rows, columns, seen, file)

    def _wanted(self, names: Collection[str], file: str) -> Mapping[str, bool]:
        """Return the columns to read, and which of them have values of their own type in CSV."""
        found = find_columns(names, None, self._config.columns, self._config.box_format, file)
        named = {name for name in names if self._where and self._where.may_name(name)}
        return {name: name in named and name != found.sample for name in names if name in found.names | named}

    def _columns(self, names: list[str], rows: list[Row], file: str, before: ShapeColumns | None) -> ShapeColumns:
        """Return the columns of some rows; of objects with the fields that are known until then."""
        chosen, box_format = self._config.columns, self._config.box_format
        outer = find_columns(names, None, chosen, box_format, file, is_strict=before is None)
        if outer.objects is None:
            return outer
        fields: list[str] = []
        for row in rows:
            fields += _known_fields(row.get(outer.objects))
        if not fields:
            return before or outer
        known = before.fields if before else ()
        return find_columns(names, list(dict.fromkeys([*known, *fields])), chosen, box_format, file)

    def _of_rows(self, rows: list[Row], columns: ShapeColumns, seen: Collection[str], file: str) -> Iterator[_Entry]:
        named = [(self._name(row.get(columns.sample), columns.sample, file), row) for row in rows]
        self.left_out[ROWS_WITHOUT_NAME] += sum(not name for name, _ in named)
        found = [(name, objects_in(row, columns)) for name, row in named if name]
        kept = iter(self._kept([one for _, objects in found for one in objects], seen))
        for name, objects in found:
            is_empty = True
            for one in objects:
                is_kept, element = next(kept), element_of(one, columns)
                self.left_out[OBJECTS_FILTERED] += element is not None and not is_kept
                if element is not None and is_kept:
                    yield name, as_text(element), score_of(one, columns)
                    is_empty = False
            if is_empty:
                yield name, None, None

    def _kept(self, objects: list[Row], seen: Collection[str]) -> list[bool]:
        """Return which objects the condition keeps; those that cannot be read are kept, so that their image fails."""
        if self._where is None or not objects:
            return [True] * len(objects)
        names = dict.fromkeys([*seen, *(name for one in objects for name in one if name != FAULT)])
        columns = {name: [one.get(name) for one in objects] for name in names if self._where.may_name(name)}
        some = next(iter(names))
        found = self._where.holds(columns or {some: [None] * len(objects)})
        return [holds or FAULT in one for holds, one in zip(found, objects, strict=True)]

    @staticmethod
    def _name(value: Any, column: str, file: str) -> str:
        if value is None or isinstance(value, str):
            return value or ""
        if isinstance(value, bytes):
            return value.decode("utf-8", "backslashreplace")
        if isinstance(value, bool | list | Mapping | float):
            raise ConfigError(f"{file}: {column} must hold names of images, got {str(value)[:40]!r}: see mask.columns")
        return str(value)


def _known_fields(value: Any) -> list[str]:
    try:
        return fields_of(value)
    except ValueError:
        return []  # the row fails by itself
