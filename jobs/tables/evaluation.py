"""Means of an evaluation, and the figures of the paper, as lines of text."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.evaluation.protocols import Protocol
from pipeline.evaluation.registry import METRICS
from pipeline.report.formatting import shown

if TYPE_CHECKING:
    from pipeline.evaluation.votes.count import Preference

COLUMNS = {
    **{name: f"{{:.{metric.digits}f}}" for name, metric in METRICS.items()},
    "lpips": "{:.3f}",
    "features": "{:.2f}",
    "statistics": "{:.2f}",
    "fid": "{:.2f}",
    "kid": "{:.1f}",
    "kid_error": "{:.1f}",
    "failed": "{}",
    "windows": "{:.1f}",
    "evaluations": "{:.0f}",
    "seconds": "{:.2f}",
    "memory_mb": "{:.0f}",
    "parameters": "{:,}",
}


def means_table(means: Sequence[Mapping[str, str | float]]) -> tuple[list[str], list[list[str]]]:
    """Format the names of columns, and the cells of a line per kind of hole and method.

    A figure that no method has is left out, and one that a method has not is blank.
    """
    columns = {name: form for name, form in COLUMNS.items() if any(name in row for row in means)}
    cells = [[form.format(row[name]) if name in row else "" for name, form in columns.items()] for row in means]
    fixed = ["mask", "method", "photos"]
    return [*fixed, *columns], [
        [*(str(row[name]) for name in fixed), *line] for row, line in zip(means, cells, strict=True)
    ]


def means_lines(means: Sequence[Mapping[str, str | float]]) -> Iterator[str]:
    """Format a header and one line per kind of hole and method."""
    columns, lines = means_table(means)
    width = max(len(str(row["method"])) for row in means)
    for mask, method, photos, *figures in (columns, *lines):
        cells = (f"{cell:>{_width(name)}}" for name, cell in zip(columns[3:], figures, strict=True))
        yield f"{mask:<8} {method:<{width}} {photos:>6} {' '.join(cells)}"


def preference_lines(preferences: Sequence["Preference"]) -> Iterator[str]:
    """Format one line per method, and below it one for each method that it was compared with."""
    width = max(len(shown(each.method)) for each in preferences) + 5
    yield f"{'method':<{width}} {'won':>5} {'lost':>5} {'equal':>5}  preferred (95 % interval)"
    for each in preferences:
        name = shown(f"  vs {each.other}" if each.other else each.method)
        share = f"{each.rate.value:.0%} ({each.rate.low:.0%} … {each.rate.high:.0%})"
        yield f"{name:<{width}} {each.won:>5} {each.lost:>5} {each.equal:>5}  {share}"


def _width(column: str) -> int:
    return max(14 if column == "parameters" else 8, len(column))


def published_lines(protocol: Protocol) -> Iterator[str]:
    """Format the figures that the paper reports for a protocol."""
    yield f"as reported in the paper, for {protocol.photos:,} photos and its own masks:"
    for model, figures in protocol.published.items():
        fid, lpips = ("–" if figure is None else f"{figure:g}" for figure in figures)
        yield f"  {model:<16} fid {fid:>6}  lpips {lpips:>6}"
