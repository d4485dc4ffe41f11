"""``verdicts.csv``: one line per result, for the page, for spreadsheets and for scripts."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.review.base import DESIGN_COLUMNS, PERSON_COLUMNS, RESULT_COLUMNS, Answer, Answers

NAME = "verdicts.csv"
MASK_COLUMN = "mask"  # file of the mask, below the folder
COLUMNS = (*PERSON_COLUMNS, MASK_COLUMN, *RESULT_COLUMNS, *DESIGN_COLUMNS)
FORMULA_MARKS = "=+-@\t\r'"  # a spreadsheet would calculate a text that begins with one of the first six
MAX_FIELD_CHARACTERS = 1 << 20


def encode_csv(lines: Iterable[Mapping[str, Any]]) -> bytes:
    """Encode lines by column; a mark keeps texts from being taken for formulas."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="")
    writer.writeheader()
    writer.writerows(map(guarded_line, lines))
    return text.getvalue().encode("utf-8-sig", "surrogatepass")  # with the mark by which Excel knows UTF-8


def guarded_line(line: Mapping[str, Any]) -> dict[str, str]:
    """Return a line as text, with an apostrophe before what a spreadsheet would calculate; unknown values are empty."""
    texts = {name: "" if value is None else str(value) for name, value in line.items()}
    return {name: f"'{text}" if text[:1] and text[0] in FORMULA_MARKS else text for name, text in texts.items()}


def read_csv(path: Path) -> Answers:
    """Read ``verdicts.csv``, or another file of that form; ``sample_id`` and ``verdict`` suffice.

    Raises:
        ConfigError: it is no CSV file in UTF-8, or has no column ``sample_id``.
    """
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # names may hold line breaks of any kind
            text = file.read()
        dialect = csv.Sniffer().sniff(text.split("\n", 1)[0], ",;\t") if text else csv.excel
        lines = csv.DictReader(io.StringIO(text, newline=""), delimiter=dialect.delimiter)
        if "sample_id" not in (lines.fieldnames or ()):
            raise ConfigError(f"{path} has no column sample_id; its first line must name the columns")
        return Answers([_answer(line, f"{path}, line {lines.line_num}") for line in lines])
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} is not a CSV file in UTF-8: {error}") from error


def _answer(line: Mapping[str | None, Any], place: str) -> Answer:
    fields = {name: value.removeprefix("'") for name, value in line.items() if name in COLUMNS and value is not None}
    return Answer(fields, place=place)
