"""Means of an evaluation, and the figures of the paper, as lines of text."""

from collections.abc import Iterator, Mapping, Sequence

from pipeline.evaluation.protocols import Protocol
from pipeline.evaluation.registry import METRICS

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


def means_lines(means: Sequence[Mapping[str, str | float]]) -> Iterator[str]:
    """Format a header and one line per kind of hole and method; a figure that a method has not is left blank."""
    width = max(len(str(row["method"])) for row in means)
    columns = {name: form for name, form in COLUMNS.items() if any(name in row for row in means)}
    yield f"{'mask':<8} {'method':<{width}} photos " + " ".join(f"{name:>{_width(name)}}" for name in columns)
    for row in means:
        cells = {name: form.format(row[name]) if name in row else "" for name, form in columns.items()}
        figures = " ".join(f"{cell:>{_width(name)}}" for name, cell in cells.items())
        yield f"{row['mask']:<8} {row['method']:<{width}} {row['photos']:>6} {figures}"


def _width(column: str) -> int:
    return max(14 if column == "parameters" else 8, len(column))


def published_lines(protocol: Protocol) -> Iterator[str]:
    """Format the figures that the paper reports for a protocol."""
    yield f"as reported in the paper, for {protocol.photos:,} photos and its own masks:"
    for model, figures in protocol.published.items():
        fid, lpips = ("–" if figure is None else f"{figure:g}" for figure in figures)
        yield f"  {model:<16} fid {fid:>6}  lpips {lpips:>6}"
