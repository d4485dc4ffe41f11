"""Logs as CSV: rows by step, which a resumed run truncates and continues."""

import csv
from collections.abc import Mapping
from pathlib import Path

from moebius.checkpoint import written_whole


def append_row(path: Path, row: Mapping[str, float]) -> None:
    """Add a row; new columns are empty in earlier rows."""
    names = _names(path)
    if new := [name for name in row if name not in names]:
        names += new
        _write(path, names, _read(path))
    with path.open("a", newline="") as file:
        csv.DictWriter(file, names).writerow(row)


def cut_rows(path: Path, step: int) -> None:
    """Drop the rows of steps that a killed run took after its last checkpoint, since they are taken again."""
    if names := _names(path):
        _write(path, names, [row for row in _read(path) if int(row["step"]) <= step])


def _names(path: Path) -> list[str]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return next(csv.reader(file), [])


def _read(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _write(path: Path, names: list[str], rows: list[dict[str, str]]) -> None:
    with written_whole(path) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
