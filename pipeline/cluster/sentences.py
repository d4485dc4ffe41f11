"""Sentences about what a run has counted, the same in the driver's log and in the report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.records import STATUSES
from pipeline.sources.left_out import describe_left_out


@dataclass(frozen=True)
class Sentence:
    """One line about a run; a warning asks a person to look."""

    text: str
    is_warning: bool = False


def sentences(summary: Mapping[str, Any]) -> list[Sentence]:
    """Describe the counts of a run, as ``runs/<run_id>.json`` has them.

    Returns:
        No sentence for a summary that another program has changed so that it cannot be read.
    """
    try:
        return list(_sentences(summary))
    except (AttributeError, LookupError, TypeError, ValueError):
        return []


def _sentences(summary: Mapping[str, Any]) -> list[Sentence]:
    samples, mask = summary["samples"], summary["configuration"]["mask"]
    took = f", in {summary['timings']['run_s']:.1f} s" if "run_s" in summary["timings"] else ""
    own_slice = summary["configuration"]["run"].get("slice")
    of_slice = f" in slice {own_slice}" if own_slice else ""
    said = [
        Sentence(
            f"{samples['found']} samples{of_slice}: {_counted(samples)}; {samples['done_now']} done in this run{took}; "
            f"results and manifest in {summary['configuration']['sink']['uri']}"
        ),
        *(Sentence(f"failed: {count} {kind}") for kind, count in summary["errors"].items()),
    ]
    if verified := summary.get("verified"):
        told = ", ".join(f"{count} {name}" for name, count in sorted(verified.items()))
        said.append(Sentence(f"verified in this run: {told}"))
    said += [Sentence(f"{count} {warning}", True) for warning, count in summary.get("warnings", {}).items()]
    if samples.get("without_mask") and mask["missing"] == "empty":
        said.append(Sentence(f"without a mask: {samples['without_mask']} (nothing to fill, mask.missing=empty)"))
    if samples.get("gone"):
        statuses = f": {told}" if (told := _counted(summary.get("gone", {}))) else ""
        said.append(Sentence(f"gone: {samples['gone']} rows of samples that are no longer in the source{statuses}"))
    if samples.get("forgotten"):
        said.append(Sentence(f"forgotten: {samples['forgotten']} (deleted on request, skipped)"))
    if left_out := summary.get("left_out"):
        said.append(Sentence(f"left out: {describe_left_out(left_out)}"))
    return said


def _counted(by_status: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status in STATUSES if (count := by_status.get(status)))
