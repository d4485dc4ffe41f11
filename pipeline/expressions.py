"""SQL expressions that users write over the rows of a table: checked, and evaluated without access to anything else."""

import contextlib
import re
from collections.abc import Iterator, Mapping

import duckdb
import pyarrow as pa

from pipeline.errors import ConfigError

_CLOSED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False,  # no other file is opened, no extension loaded
    "autoinstall_known_extensions": False,
    "python_enable_replacements": False,  # no variable of this process is a table
    "memory_limit": "1GB",
    "threads": 1,
    "preserve_insertion_order": True,
}


@contextlib.contextmanager
def sentences(key: str, expression: str | None) -> Iterator[None]:
    """Raise errors of the database as ``ConfigError`` of a key, without the excerpt of the query."""
    try:
        yield
    except duckdb.Error as error:
        sentence = " ".join(re.split(r"\n\s*LINE \d+:", str(error))[0].split())
        raise ConfigError(f"{key}={expression!r}: {sentence}") from error


def check_single(key: str, expression: str, query: str) -> None:
    """Refuse text that would end the query that an expression is put into.

    Args:
        key: of the configuration that holds it.
        expression: of a user.
        query: with the expression in it.

    Raises:
        ConfigError: the query cannot be parsed, or is more than one ``SELECT``.
    """
    with sentences(key, expression):
        statements = duckdb.extract_statements(query)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise ConfigError(f"{key}={expression!r}: must be one expression over a row, not a statement")


class Condition:
    """Tells of which rows an expression is true; null counts as false.

    The types of columns are those of the first rows that are looked at; whole numbers count as numbers with fractions.

    Args:
        key: of the configuration that holds the expression.
        expression: of a user.

    Raises:
        ConfigError: it is not one expression.
    """

    def __init__(self, key: str, expression: str) -> None:
        self._key, self._expression = key, expression
        # A line of its own, since it may end in a comment.
        self._query = f"SELECT coalesce(CAST((\n{expression}\n) AS BOOLEAN), false) AS holds FROM objects"
        check_single(key, expression, self._query)
        self._types: dict[str, pa.DataType] = {}
        self._database = duckdb.connect(":memory:", config=_CLOSED)

    def may_name(self, column: str) -> bool:
        """Return whether the expression may use a column; true rather than false."""
        return column.lower() in self._expression.lower()

    def holds(self, columns: Mapping[str, list]) -> list[bool]:
        """Evaluate the expression.

        Args:
            columns: values of rows, by the name of their column; all as long, and at least one.

        Raises:
            ConfigError: a name that no column has, or values that the expression does not fit.
        """
        names = [name for name in columns if self.may_name(name)] or list(columns)[:1]
        rows = pa.table({name: self._typed(name, columns[name]) for name in names})
        with sentences(self._key, self._expression):
            self._database.register("objects", rows)
            found = self._database.execute(self._query).fetchall()
            self._database.register("objects", rows.slice(0, 0))
            is_aggregate = bool(self._database.execute(self._query).fetchall())
        if is_aggregate or len(found) != len(rows):  # or a function that makes several rows of one
            raise ConfigError(f"{self._key}={self._expression!r}: must be one truth value for each row")
        return [value for (value,) in found]

    def _typed(self, name: str, values: list) -> pa.Array:
        try:
            array = pa.array(values, self._types.get(name))
            if pa.types.is_integer(array.type):
                array = array.cast(pa.float64())
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            kind = self._types.get(name, "one type")
            raise ConfigError(f"{self._key}: values of {name} are not all of {kind}: {error}") from error
        if not pa.types.is_null(array.type):
            self._types.setdefault(name, array.type)
        return array
