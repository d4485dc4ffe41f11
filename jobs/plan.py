"""``moebius plan CONFIG [key=value …]``: show what ``inpaint`` would do, without doing it."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.cli.arguments import add_config, add_overrides, positive
from jobs.cli.execute import run_command
from jobs.cli.exit_codes import DONE
from jobs.cli.parser import new_parser
from jobs.configuration.load import load_config
from pipeline.config.job import JobConfig
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.planning.estimate import Rate
    from pipeline.planning.plan import Plan

WHY = {
    "new": "new",
    "changed": "changed",
    "selected": "selected",
    "damaged": "result damaged or missing",
    "retried": "failed before",
    "redone": "made with other weights or settings",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments, plan, and print the plan."""
    parser = new_parser(
        "plan",
        "Show what inpaint would do: samples found, done, to do and why, missing masks, bytes. Changes nothing in "
        "source and sink; fetches the weights if they are not on this machine.",
    )
    add_config(parser)
    add_overrides(parser)
    sizing = parser.add_argument_group("sizing", "GPU time for the samples to do, estimated from measured figures")
    sizing.add_argument("--sizing", action="store_true", help="cut some photos into windows and estimate")
    sizing.add_argument("--sample", type=positive, default=100, metavar="N", help="photos to cut (100)")
    sizing.add_argument("--bench", type=Path, metavar="FILE", help="JSON of moebius bench model: windows per second")
    sizing.add_argument("--windows-per-second", type=float, metavar="X", help="measured on one GPU, instead of --bench")
    sizing.add_argument("--gpu-hour-cost", type=float, metavar="X", help="price of one GPU hour, in any currency")
    options = parser.parse_intermixed_args(arguments)
    return run_command(lambda: _plan(options))


def _plan(options: argparse.Namespace) -> int:
    config = load_config(options.config, options.overrides)
    rate = _rate(options)
    from pipeline.database import Database
    from pipeline.manifest.log import Manifest
    from pipeline.masks.base import tried
    from pipeline.planning.finished_shards import FinishedShards
    from pipeline.planning.listing import find_samples
    from pipeline.planning.plan import WITHOUT_VERSION, make_plan
    from pipeline.signing.signer import open_signer
    from pipeline.sources.left_out import describe_left_out
    from pipeline.storage.storage import Storage
    from pipeline.storage.weights import fetch_weights

    config = tried(config)
    open_signer(config.sink.c2pa)
    weights = fetch_weights(config.model.weights, config.storage)
    config = config.for_weights(weights.config)
    with Database() as database:
        manifest = Manifest(Storage(config.sink.uri, config.storage))
        left_out = find_samples(config, database, FinishedShards(config, weights.fingerprint, manifest, database))
        plan = make_plan(config, database, weights.fingerprint, manifest)
        ((miss,),) = database.run("FROM miss")
        sizing = _sizing(options, config, plan, rate, weights.config.image_size) if rate else {}
    lines = {
        **({"slice": f"{config.run.slice} of the samples"} if config.run.slice else {}),
        "samples found": f"{plan.found} ({plan.found_bytes / 1e6:.1f} MB)",
        **({"left out": describe_left_out(left_out)} if left_out else {}),
        "done": f"{plan.done.total()} {_counts(plan.done)}",
        "to do": f"{plan.todo} {_counts({WHY[reason]: count for reason, count in plan.reasons.items()})}",
        **({"cannot be read": f"{plan.faults.total()} {_counts(plan.faults)}"} if plan.faults else {}),
        **_without_mask(plan.without_mask, config.mask.missing == "empty", miss),
        **({"no version": f"{plan.without_version} ({WITHOUT_VERSION})"} if plan.without_version else {}),
        "gone": f"{plan.gone} (in the manifest, no longer in the source; their rows are kept)",
        **({"forgotten": f"{plan.forgotten} (deleted on request, skipped)"} if plan.forgotten else {}),
        "weights": f"{config.model.weights} ({weights.fingerprint})",
        "sink": config.sink.uri,
        **sizing,
    }
    for label, value in lines.items():
        sys.stdout.write(f"{label + ':':<15} {value.rstrip()}\n")
    return DONE


def _rate(options: argparse.Namespace) -> "Rate | None":
    """Return the speed of a GPU, or None if no sizing is asked for.

    Raises:
        ConfigError: the options of the sizing contradict each other.
    """
    rates = [value for value in (options.bench, options.windows_per_second) if value is not None]
    given = len(rates) + (options.gpu_hour_cost is not None)
    if len(rates) != 1 if options.sizing else given:
        raise ConfigError(
            "--sizing needs exactly one of --bench FILE and --windows-per-second X, and these need --sizing"
        )
    if not options.sizing:
        return None
    from pipeline.planning.estimate import Rate, read_rate

    if options.gpu_hour_cost is not None and not 0 <= options.gpu_hour_cost < math.inf:
        raise ConfigError(f"--gpu-hour-cost must be 0 or more, got {options.gpu_hour_cost}")
    if options.bench is not None:
        return read_rate(options.bench)
    return Rate(options.windows_per_second, "given")


def _sizing(
    options: argparse.Namespace, config: JobConfig, plan: "Plan", rate: "Rate", window_px: int
) -> dict[str, str]:
    """Return the lines that state the GPU time of a plan."""
    from pipeline.planning.estimate import describe_sizing, sample_windows

    if not plan.todo:
        return {"sizing": "nothing to do"}
    sample = sample_windows(config, plan.database, window_px, options.sample)
    settings = config.inpaint_settings
    rate = rate.scaled(settings.evaluations(settings.strength))
    return describe_sizing(plan.todo, sample, rate, options.gpu_hour_cost)


def _without_mask(count: int, is_empty: bool, miss: str | None) -> dict[str, str]:
    """Return the line that states how many samples have no mask, with an example of a name that matches none."""
    if is_empty:
        return {"without a mask": f"{count} (nothing to fill, mask.missing=empty)"}
    return {"missing masks": f"{count}{f', {miss}' if count and miss else ''}"}


def _counts(counter: dict[str, int]) -> str:
    return f"({', '.join(f'{count} {name}' for name, count in sorted(counter.items()))})" if counter else ""


if __name__ == "__main__":
    sys.exit(main())
