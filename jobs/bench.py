"""``moebius bench KIND``: figures of the model and of the pipeline, as a table and as JSON."""

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jobs.arguments import positive
from jobs.cli import DONE, EXIT_CODES, run_command

Figures = dict[str, Any]
RANDOM = "random"
QUICK_S, THOROUGH_S = 0.2, 3.0  # that each figure is measured for
MODEL_PACKAGES = ("torch", "numpy", "ray")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        prog="moebius bench",
        description="Measure the model or the pipeline on this machine. Nothing else should run on it meanwhile.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    _add_model(kinds)
    _add_job(kinds)
    _add_flow(kinds)
    _add_plan(kinds)
    _add_report(kinds)
    for kind in kinds.choices.values():
        kind.add_argument("--output", "--json", dest="output", metavar="FILE", type=Path, help="write JSON there, too")
    options = parser.parse_args(arguments)
    measure = {"model": _model, "job": _job, "flow": _flow, "plan": _plan, "report": _report}[options.kind]
    return run_command(lambda: _print(measure, options))


def _add_model(kinds: Any) -> None:
    model = kinds.add_parser(
        "model",
        help="the model alone: steps, autoencoder, memory, and how near they come to what the device can do",
        description="Time the denoiser and the autoencoder, plain and arranged for speed, in fp32 and bf16. Needs "
        "neither Ray nor a network. On CPUs one thread computes, as in a job.",
    )
    model.add_argument("--weights", default=RANDOM, help="name, folder or file; random: of the published size (random)")
    model.add_argument("--device", default="auto", help="cuda or cpu (the GPU where there is one)")
    model.add_argument(
        "--batch-sizes", type=positive, nargs="+", default=[1, 4, 16], metavar="N", help="windows (1 4 16)"
    )
    model.add_argument("--quick", action="store_true", help="batches of one window alone, few repetitions")
    model.add_argument("--versus", choices=["flux"], help="FLUX.1-Fill-Dev as well, of its size with random weights")


def _add_job(kinds: Any) -> None:
    job = kinds.add_parser(
        "job",
        help="the whole job against the bare model: pictures a second",
        description="Run the whole job over made-up photos, one window each, and the same windows through the bare "
        "model, with the same number of threads.",
    )
    job.add_argument("--weights", default="nano", help="name, folder or file; random: of the published size (nano)")
    job.add_argument("--samples", type=positive, default=200, help="photos (200)")
    job.add_argument("--steps", type=positive, default=20, help="of the sampler (20)")


def _add_flow(kinds: Any) -> None:
    flow = kinds.add_parser(
        "flow",
        help="everything but the model: samples a second against a plain loop, how busy a model is kept, memory",
        description="Run the whole job over made-up JPEG photos with a stand-in for the model that sleeps. First a "
        "plain loop in as many processes as there are cores decodes each photo and mask and encodes the photo again.",
    )
    flow.add_argument("--samples", type=positive, default=5000, help="photos (5000)")
    flow.add_argument("--side", type=positive, default=1024, help="of each photo, in pixels (1024)")
    flow.add_argument("--actors", type=positive, default=os.cpu_count(), help="workers (one a core)")
    flow.add_argument("--batch-size", type=positive, default=16, help="windows in one call of the model (16)")
    flow.add_argument("--batch-seconds", type=float, default=0.0, help="that one call takes (0)")


def _add_plan(kinds: Any) -> None:
    plan = kinds.add_parser(
        "plan",
        help="planning against a manifest of many rows: seconds and memory",
        description="Write a manifest of so many finished rows, then plan against a made-up listing of as many images "
        "and as many masks, of which every thousandth has changed.",
    )
    plan.add_argument("--rows", type=positive, default=1_000_000, help="in the manifest and in the listing (1000000)")


def _add_report(kinds: Any) -> None:
    report = kinds.add_parser(
        "report",
        help="the report of a sink of many rows: seconds and memory",
        description="Write a manifest of so many made-up rows, with real files behind those that the report shows.",
    )
    report.add_argument("--rows", type=positive, default=1_000_000, help="in the manifest (1000000)")


def _model(options: argparse.Namespace) -> Figures:
    from moebius.bench.flux import FluxUnavailableError, check_available, measure_flux
    from moebius.bench.model import measure_model
    from moebius.weights import find_weights
    from pipeline.errors import ConfigError

    device = _device(options.device)
    batch_sizes, least_s = ([1], QUICK_S) if options.quick else (options.batch_sizes, THOROUGH_S)
    if options.versus:
        try:
            check_available(device)
        except FluxUnavailableError as error:
            raise ConfigError(str(error)) from error
    with _weights(options.weights) as weights:
        figures = asdict(measure_model(find_weights(weights), device, batch_sizes, least_s))
    if options.versus:
        flux = measure_flux(device, least_s)
        figures["flux"] = {**asdict(flux), "times_slower": flux.image_s * figures["windows_per_second"]}
    return figures


@contextmanager
def _weights(name: str) -> Iterator[str]:
    """What is to be loaded: as named, or random weights in a folder that lasts as long as the context."""
    from moebius.bench.checkpoints import write_random_weights

    if name != RANDOM:
        yield name
        return
    with tempfile.TemporaryDirectory(prefix="moebius-bench-") as folder:
        write_random_weights(Path(folder))
        yield folder


def _device(name: str) -> Any:
    from moebius.train.devices import choose_device
    from pipeline.errors import ConfigError

    try:
        return choose_device(name)
    except ValueError as error:
        raise ConfigError(f"--{error}") from error


def _job(options: argparse.Namespace) -> Figures:
    from pipeline.bench.job import measure_job

    with _weights(options.weights) as weights:
        return asdict(measure_job(weights, options.samples, options.steps))


def _flow(options: argparse.Namespace) -> Figures:
    from pipeline.bench.flow import measure_flow, plain_loop, write_corpus
    from pipeline.errors import ConfigError

    if not 0 <= options.batch_seconds < math.inf:
        raise ConfigError(f"--batch-seconds must be 0 or more, got {options.batch_seconds}")
    with tempfile.TemporaryDirectory(prefix="moebius-bench-") as name:
        write_corpus(Path(name), options.samples, options.side)
        plain = plain_loop(Path(name), os.cpu_count() or 1)
        figures = measure_flow(Path(name), options.actors, options.batch_size, options.batch_seconds)
    return {**asdict(figures), "plain_samples_per_s": plain, "of_plain": figures.samples_per_s / plain}


def _plan(options: argparse.Namespace) -> Figures:
    from pipeline.bench.plan import measure_plan

    return asdict(measure_plan(options.rows))


def _report(options: argparse.Namespace) -> Figures:
    from pipeline.bench.report import measure_report

    return asdict(measure_report(options.rows))


def _print(measure: Callable[[argparse.Namespace], Figures], options: argparse.Namespace) -> int:
    from moebius.hardware import device_name, versions

    settings = {key: value for key, value in vars(options).items() if key != "output"}
    made = {"machine": device_name(), "date": time.strftime("%Y-%m-%d", time.gmtime())}
    figures = {**settings, **made, "versions": versions(*MODEL_PACKAGES), **measure(options)}
    sys.stdout.write("".join(f"{line}\n" for line in _lines(figures)))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(figures, indent=2) + "\n")
    return DONE


def _lines(figures: Figures) -> list[str]:
    """One a figure, and a table for figures of several runs."""
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


if __name__ == "__main__":
    sys.exit(main())
