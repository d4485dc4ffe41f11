"""``moebius bench flow``, ``plan`` and ``report``: figures of the pipeline, as a table and as JSON."""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jobs.cli import DONE, run_command
from pipeline.summary import device_name

Figures = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        prog="moebius bench",
        description="Measure the pipeline on this machine. Nothing else should run on it meanwhile.",
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    flow = kinds.add_parser(
        "flow",
        help="everything but the model: samples a second against a plain loop, how busy a model is kept, memory",
        description="Run the whole job over made-up JPEG photos with a stand-in for the model that sleeps. First a "
        "plain loop in as many processes as there are cores decodes each photo and mask and encodes the photo again.",
    )
    flow.add_argument("--samples", type=int, default=5000, help="photos (5000)")
    flow.add_argument("--side", type=int, default=1024, help="of each photo, in pixels (1024)")
    flow.add_argument("--actors", type=int, default=os.cpu_count(), help="workers (one a core)")
    flow.add_argument("--batch-size", type=int, default=16, help="windows in one call of the model (16)")
    flow.add_argument("--batch-seconds", type=float, default=0.0, help="that one call takes (0)")
    plan = kinds.add_parser(
        "plan",
        help="planning against a manifest of many rows: seconds and memory",
        description="Write a manifest of so many finished rows, then plan against a made-up listing of as many images "
        "and as many masks, of which every thousandth has changed.",
    )
    plan.add_argument("--rows", type=int, default=1_000_000, help="in the manifest and in the listing (1000000)")
    report = kinds.add_parser(
        "report",
        help="the report of a sink of many rows: seconds and memory",
        description="Write a manifest of so many made-up rows, with real files behind those that the report shows.",
    )
    report.add_argument("--rows", type=int, default=1_000_000, help="in the manifest (1000000)")
    for kind in (flow, plan, report):
        kind.add_argument("--json", metavar="FILE", type=Path, help="write the figures there as well")
    options = parser.parse_args(arguments)
    measures = {"flow": _flow, "plan": _plan, "report": _report}
    return run_command(lambda: _print(measures[options.kind], options))


def _flow(options: argparse.Namespace) -> Figures:
    from pipeline.bench_flow import measure_flow, plain_loop, write_corpus

    with tempfile.TemporaryDirectory(prefix="moebius-bench-") as name:
        write_corpus(Path(name), options.samples, options.side)
        plain = plain_loop(Path(name), os.cpu_count() or 1)
        figures = measure_flow(Path(name), options.actors, options.batch_size, options.batch_seconds)
    return {**asdict(figures), "plain_samples_per_s": plain, "of_plain": figures.samples_per_s / plain}


def _plan(options: argparse.Namespace) -> Figures:
    from pipeline.bench_plan import measure_plan

    return asdict(measure_plan(options.rows))


def _report(options: argparse.Namespace) -> Figures:
    from pipeline.bench_report import measure_report

    return asdict(measure_report(options.rows))


def _print(measure: Callable[[argparse.Namespace], Figures], options: argparse.Namespace) -> int:
    settings = {key: value for key, value in vars(options).items() if key != "json"}
    figures = {**settings, "machine": device_name(), **measure(options)}
    for name, value in figures.items():
        sys.stdout.write(f"{name:<22} {f'{value:.4g}' if isinstance(value, float) else value}\n")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
