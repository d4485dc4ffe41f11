"""``moebius bench KIND``: measure the model or the pipeline; print a table and write JSON."""

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

from jobs.cli.arguments import positive
from jobs.cli.execute import run_command
from jobs.cli.exit_codes import DONE
from jobs.cli.parser import new_parser
from jobs.tables.figures import figure_lines

Figures = dict[str, Any]
RANDOM = "random"
QUICK_S, THOROUGH_S = 0.2, 3.0  # measuring time per figure
MODEL_PACKAGES = ("torch", "numpy", "ray")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments, measure, and print."""
    parser = new_parser(
        "bench", "Measure the model or the pipeline on this machine, which should run nothing else meanwhile."
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for add_kind in (_add_model, _add_job, _add_flow, _add_plan, _add_report):
        add_kind(kinds)
    for kind in kinds.choices.values():
        kind.add_argument("--output", "--json", dest="output", metavar="FILE", type=Path, help="also write JSON")
    options = parser.parse_args(arguments)
    return run_command(lambda: _measure(options))


def _add_model(kinds: Any) -> None:
    model = kinds.add_parser(
        "model",
        help="the model without the pipeline: steps, autoencoder, memory, and their distance from the roofline",
        description="Time the denoiser and the autoencoder, plain and optimized, in fp32 and bf16. Needs neither Ray "
        "nor a network. CPUs compute with one thread, as in a job.",
    )
    model.add_argument("--weights", default=RANDOM, help="name, folder or file; random: published size (random)")
    model.add_argument("--device", default="auto", help="cuda or cpu (the GPU if there is one)")
    model.add_argument(
        "--batch-sizes",
        type=positive,
        nargs="+",
        default=[1, 4, 16],
        metavar="N",
        help="windows per call of the model (1 4 16)",
    )
    model.add_argument("--quick", action="store_true", help="only batches of one window, few repetitions")
    model.add_argument(
        "--versus", choices=["flux"], help="also measure FLUX.1-Fill-Dev, with random weights of its size"
    )
    model.set_defaults(measure=_model)


def _add_job(kinds: Any) -> None:
    job = kinds.add_parser(
        "job",
        help="the whole job compared with the bare model: images per second",
        description="Run the whole job over synthetic photos with one window each, and the same windows through the "
        "bare model with the same number of threads.",
    )
    job.add_argument("--weights", default="nano", help="name, folder or file; random: published size (nano)")
    job.add_argument("--samples", type=positive, default=200, help="photos (200)")
    job.add_argument("--steps", type=positive, default=20, help="steps of the sampler (20)")
    job.set_defaults(measure=_job)


def _add_flow(kinds: Any) -> None:
    flow = kinds.add_parser(
        "flow",
        help="throughput with a no-op model: samples per second, compared with a plain loop; busy share, memory",
        description="Run the whole job over synthetic JPEG photos with a model that only sleeps. A plain loop, with "
        "one process per core, decodes each photo and mask and encodes the photo again for comparison.",
    )
    flow.add_argument("--samples", type=positive, default=5000, help="photos (5000)")
    flow.add_argument("--side", type=positive, default=1024, help="side of each photo in pixels (1024)")
    flow.add_argument("--actors", type=positive, default=os.cpu_count(), help="workers (one per core)")
    flow.add_argument("--batch-size", type=positive, default=16, help="windows per call of the model (16)")
    flow.add_argument("--batch-seconds", type=float, default=0.0, help="seconds per call of the model (0)")
    flow.set_defaults(measure=_flow)


def _add_plan(kinds: Any) -> None:
    plan = kinds.add_parser(
        "plan",
        help="planning against a manifest of many rows: seconds and memory",
        description="Write a manifest of finished rows, then plan against a synthetic listing, or a list, of as many "
        "images and masks. One mask in a thousand has changed.",
    )
    plan.add_argument("--rows", type=positive, default=1_000_000, help="rows in the manifest and source (1000000)")
    plan.add_argument(
        "--from",
        dest="origin",
        choices=("listing", "list", "csv"),
        default="listing",
        help="a synthetic listing, or a list in Parquet or CSV that is written first (listing)",
    )
    plan.set_defaults(measure=_plan)


def _add_report(kinds: Any) -> None:
    report = kinds.add_parser(
        "report",
        help="the report of a sink of many rows: seconds and memory",
        description="Write a manifest of synthetic rows, with real files for those that the report shows.",
    )
    report.add_argument("--rows", type=positive, default=1_000_000, help="rows in the manifest (1000000)")
    report.set_defaults(measure=_report)


def _model(options: argparse.Namespace) -> Figures:
    from moebius.bench.flux import DeviceTooSmallError, check_room, measure_flux
    from moebius.bench.model import measure_model
    from moebius.weights import find_weights
    from pipeline.errors import ConfigError
    from pipeline.extras import check_extra

    device = _device(options.device)
    batch_sizes, min_s = ([1], QUICK_S) if options.quick else (options.batch_sizes, THOROUGH_S)
    if options.versus:
        check_extra(options.versus, f"--versus {options.versus}")
        try:
            check_room(device)
        except DeviceTooSmallError as error:
            raise ConfigError(str(error)) from error
    with _weights(options.weights) as weights:
        figures = asdict(measure_model(find_weights(weights), device, batch_sizes, min_s))
    if options.versus:
        flux = measure_flux(device, min_s)
        figures["flux"] = {**asdict(flux), "times_slower": flux.image_s * figures["windows_per_second"]}
    return figures


@contextmanager
def _weights(name: str) -> Iterator[str]:
    """Yield the weights to load: as named, or random ones in a temporary folder."""
    from moebius.bench.checkpoints import write_random_weights

    if name != RANDOM:
        yield name
        return
    with tempfile.TemporaryDirectory(prefix="moebius-bench-") as folder:
        write_random_weights(Path(folder))
        yield folder


def _device(name: str) -> Any:
    from moebius.train.optimization.devices import choose_device
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

    return asdict(measure_plan(options.rows, options.origin))


def _report(options: argparse.Namespace) -> Figures:
    from pipeline.bench.report import measure_report

    return asdict(measure_report(options.rows))


def _measure(options: argparse.Namespace) -> int:
    from moebius.hardware import device_name, versions

    settings = {key: value for key, value in vars(options).items() if key not in ("output", "measure")}
    made = {"machine": device_name(), "date": time.strftime("%Y-%m-%d", time.gmtime())}
    measure: Callable[[argparse.Namespace], Figures] = options.measure
    figures = {**settings, **made, "versions": versions(*MODEL_PACKAGES), **measure(options)}
    sys.stdout.write("".join(f"{line}\n" for line in figure_lines(figures)))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(figures, indent=2) + "\n")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
