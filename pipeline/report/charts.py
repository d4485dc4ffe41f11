"""Charts as inline SVG, drawn by pygal, styled by the page, without scripts."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pygal

from pipeline.report.figures import HOLE_EDGES, Figures
from pipeline.report.formatting import seconds, shown

SIZE = {"width": 560, "height": 260}
_DROPPED = ("script", "style", "defs", "title")  # what a page with its own style and script has no use for
_Chart = Any  # of pygal, which is untyped


def draw_charts(figures: Figures) -> dict[str, str]:
    """Draw SVG elements by name: ``rates``, ``stages``, ``holes`` and ``seams``, without empty charts."""
    charts = {
        "rates": (_rates(figures), "samples per second over time"),
        "stages": (_stages(figures), "seconds per stage"),
        "holes": (_holes(figures), "results by size of their holes"),
        "seams": (_seams(figures), "results by seam score"),
    }
    return {name: as_svg(chart, label) for name, (chart, label) in charts.items() if chart is not None}


def _rates(figures: Figures) -> _Chart | None:
    if not figures.rates:
        return None
    chart = new_chart(
        pygal.XY, x_value_formatter=seconds, value_formatter=_number, show_dots=False, include_x_axis=True
    )
    chart.show_legend = len(figures.rates) > 1
    for run_id, line in sorted(figures.rates.items()):
        chart.add(shown(run_id), line)
    return chart


def _stages(figures: Figures) -> _Chart | None:
    if not figures.stages:
        return None
    chart = new_chart(pygal.HorizontalBar, value_formatter=seconds, show_legend=True)
    stages = figures.stages[::-1]  # the first one on top
    chart.x_labels = [stage.stage for stage in stages]
    chart.add("median", [stage.median_s for stage in stages])
    chart.add("95th percentile", [stage.p95_s for stage in stages])
    return chart


def _holes(figures: Figures) -> _Chart | None:
    if not any(figures.hole_sizes):
        return None
    names = [f"{100 * low:g}–{100 * high:g} %" for low, high in pairwise(HOLE_EDGES)]
    return _histogram(names, figures.hole_sizes, names)


def _seams(figures: Figures) -> _Chart | None:
    if not figures.seams:
        return None
    names = [f"{low:.1f} … {high:.1f}" for low, high, _ in figures.seams]
    axis = [f"{low:.1f}" if index % 5 == 0 else "" for index, (low, _, _) in enumerate(figures.seams)]
    return _histogram(axis, [count for *_, count in figures.seams], names)


def _histogram(axis: Sequence[str], counts: Sequence[int], names: Sequence[str]) -> _Chart:
    chart = new_chart(pygal.Bar, value_formatter=_whole, spacing=4)
    chart.x_labels = axis
    chart.x_label_rotation = 30 if max(map(len, axis)) > 5 else 0
    chart.add("samples", [{"value": count, "label": name} for count, name in zip(counts, names, strict=True)])
    return chart


def new_chart(kind: Callable[..., _Chart], **settings: object) -> _Chart:
    """Create a chart of pygal that the page styles."""
    plain = {
        "css": (),
        "js": (),
        "show_legend": False,
        "legend_at_bottom": True,
        "truncate_legend": -1,
        "truncate_label": -1,
        "max_scale": 6,
    }
    return kind(**{**SIZE, **plain, **settings})


def _whole(count: float) -> str:
    return f"{count:,.0f}" if count == int(count) else ""  # on the axis of a small chart


def _number(value: float) -> str:
    return f"{value:,.3g}" if value < 100 else f"{value:,.0f}"


def as_svg(chart: _Chart, label: str) -> str:
    """Render only the SVG elements; pygal's scripted tooltips become native ones of the browser."""
    root = ElementTree.fromstring(chart.render())
    for parent in list(root.iter()):
        parent.tag = parent.tag.partition("}")[2] or parent.tag
        parent.attrib.pop("id", None)  # the same in every chart
        for child in list(parent):
            if child.tag.partition("}")[2] in _DROPPED:
                parent.remove(child)
        notes = {child.get("class"): child for child in parent if child.tag.endswith("}desc")}
        if notes:
            for note in notes.values():
                parent.remove(note)
            hint = ElementTree.Element("title")
            hint.text = ": ".join(notes[kind].text or "" for kind in ("x_label", "value") if kind in notes)
            parent.insert(0, hint)
    root.attrib = {"class": "chart", "viewBox": root.attrib["viewBox"], "role": "img", "aria-label": label}
    return ElementTree.tostring(root, encoding="unicode")
