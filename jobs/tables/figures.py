"""Figures of a benchmark as lines of text."""

from collections.abc import Mapping
from typing import Any


def figure_lines(figures: Mapping[str, Any]) -> list[str]:
    """Format one line per figure, and a table for the figures of several runs."""
    lines = []
    for name, value in figures.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {_text(part)}" for key, part in value.items())
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = [list(value[0]), *([_text(part) for part in run.values()] for run in value)]
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            lines += ["  ".join(map(str.rjust, row, widths)) for row in rows]
            continue
        lines.append(f"{name:<22} {_text(value)}")
    return lines


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={_text(part)}" for key, part in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
