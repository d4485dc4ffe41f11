"""Means of an evaluation over photos."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.evaluation.case import Row
from pipeline.evaluation.masks import MASKS
from pipeline.evaluation.networks import NetworkMetrics
from pipeline.evaluation.registry import METRICS
from pipeline.evaluation.run import FROM_FILES

FIGURES = (*METRICS, "lpips", "features", "statistics", "windows", "evaluations", "seconds")
GREATEST = ("memory_mb",)  # of all photos, not their mean


def summarise(
    rows: Sequence[Mapping[str, str | float]],
    networks: Sequence[NetworkMetrics] = (),
    parameters: Mapping[str, int] | None = None,
) -> list[Row]:
    """Means over photos, one row for each kind of mask and method, in the order they came.

    Args:
        rows: figures, or failures, of each photo, kind of mask and method.
        networks: which measure the sets of fills.
        parameters: of the models, by method.
    """
    groups: dict[tuple[str, str], list[Mapping[str, str | float]]] = {}
    for row in rows:
        groups.setdefault((str(row["mask"]), str(row["method"])), []).append(row)
    means: list[Row] = []
    order = [*MASKS, FROM_FILES]
    for (kind, method), members in sorted(groups.items(), key=lambda group: order.index(group[0][0])):
        filled = [member for member in members if "failure" not in member]
        mean: Row = {"mask": kind, "method": method, "photos": len(filled)}
        if len(filled) < len(members):
            mean["failed"] = len(members) - len(filled)
        for name in (name for name in (*FIGURES, *GREATEST) if filled and name in filled[0]):
            values = [float(member[name]) for member in filled if name in member]
            mean[name] = float(max(values) if name in GREATEST else np.mean(values))
        if method in (parameters or {}):
            mean["parameters"] = (parameters or {})[method]
        for network in networks if filled else ():
            mean |= network.of_set(kind, method)
        means.append(mean)
    return means


def failed_methods(rows: Sequence[Mapping[str, str | float]]) -> set[str]:
    """Return the methods that have no fill at all."""
    return {str(row["method"]) for row in rows} - {str(row["method"]) for row in rows if "failure" not in row}


def failure_notes(rows: Sequence[Mapping[str, str | float]]) -> list[str]:
    """Describe for each method how many of its fills are missing, with the first reason."""
    failures: dict[str, list[Mapping[str, str | float]]] = {}
    for row in rows:
        if "failure" in row:
            failures.setdefault(str(row["method"]), []).append(row)
    without = failed_methods(rows)
    return [
        f"{method}: "
        + (
            f"all {len(failed)} fills are missing"
            if method in without
            else f"{len(failed)} fills are missing, so its means are over fewer photos than the others'"
        )
        + f"; the first is that of {failed[0]['photo']} ({failed[0]['mask']}): {failed[0]['failure']}"
        for method, failed in failures.items()
    ]
