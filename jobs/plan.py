"""``moebius plan CONFIG [key=value …]``: what ``inpaint`` would do, without doing it."""

import argparse
import sys
from collections.abc import Sequence

from jobs.cli import DONE, EXIT_CODES, run_command
from jobs.configuration import load_config
from jobs.inpaint import add_config_arguments

WHY = {
    "new": "new",
    "changed": "changed",
    "selected": "selected",
    "retried": "failed before",
    "redone": "made with other weights or settings",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, plan, print."""
    parser = argparse.ArgumentParser(
        prog="moebius plan",
        description="Show what inpaint would do: samples found, done, to do, missing masks, bytes. Changes nothing.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config_arguments(parser)
    options = parser.parse_args(arguments)
    return run_command(lambda: _plan(options.config, options.overrides))


def _plan(path: str, overrides: Sequence[str]) -> int:
    config = load_config(path, overrides)
    from pipeline.catalog import Catalog
    from pipeline.manifest import Manifest
    from pipeline.plan import find_samples, make_plan
    from pipeline.settled import SettledShards
    from pipeline.storage import Storage
    from pipeline.weight_store import fetch_weights

    weights = fetch_weights(config.model.weights, config.storage)
    with Catalog() as catalog:
        manifest = Manifest(Storage(config.sink.uri, config.storage))
        find_samples(config, catalog, SettledShards(config, weights.fingerprint, manifest, catalog))
        plan = make_plan(config, catalog, weights.fingerprint, manifest)
    lines = {
        "samples found": f"{plan.found} ({plan.found_bytes / 1e6:.1f} MB)",
        "done": f"{plan.done.total()} {_counts(plan.done)}",
        "to do": f"{plan.todo} {_counts({WHY[reason]: count for reason, count in plan.reasons.items()})}",
        "missing masks": str(plan.without_mask),
        "gone": f"{plan.gone} (in the manifest, no longer in the source; their rows stay)",
        **({"forgotten": f"{plan.forgotten} (deleted on request, left out)"} if plan.forgotten else {}),
        "weights": f"{config.model.weights} ({weights.fingerprint})",
        "sink": config.sink.uri,
    }
    for label, value in lines.items():
        sys.stdout.write(f"{label + ':':<15} {value.rstrip()}\n")
    return DONE


def _counts(counter: dict[str, int]) -> str:
    return f"({', '.join(f'{count} {name}' for name, count in sorted(counter.items()))})" if counter else ""


if __name__ == "__main__":
    sys.exit(main())
