"""``make drill``: one job under constant fire on a small cluster, compared byte for byte with an undisturbed run.

A head and nodes that `ray start` has started on this machine, a real S3 server behind a faulty proxy, samples that kill
their worker and a sample that hangs, and every fault of ``tests/drill/faults.py`` at least once: the driver is started
again until it is done. Exit code 0 means: every sample has one row, those that kill or hang failed, every other row has
one whole result, and every byte is that of the undisturbed run.

``make drills`` runs ten small ones and prints a table.
"""

import argparse
import signal
import sys
from collections import Counter

from tests.drill.drill import Outcome, run_drill, say
from tests.drill.faults import FAULTS
from tests.drill.setting import Options, may_mount

SINKS = ("images", "webdataset", "parquet")
OF_DISK, OF_S3_SINK = {"full-disk"}, {"read-only"}
MARGIN_S = 1800.0  # beside one second per sample; a busy machine takes minutes for a restart


def main() -> int:
    parser = argparse.ArgumentParser(prog="make drill", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--seeds", type=int, default=1, help="how many drills, with a table at the end")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--sink", choices=SINKS, help="sink.format; default: by the seed")
    parser.add_argument("--store", choices=("s3", "disk"), help="place of the sink; default: by the seed")
    parser.add_argument("--faults", default="", help=f"some of {','.join(FAULTS)}; default: all")
    parser.add_argument("--every", type=float, default=10.0, help="mean seconds between two faults")
    parser.add_argument("--faulty", type=float, default=0.05, help="share of S3 requests that go wrong")
    parser.add_argument("--killers", type=int, help="samples that kill their worker; default: 2 … 12")
    parser.add_argument("--hangs", type=int, default=1, help="samples that never end")
    given = parser.parse_args()
    if unknown := set(filter(None, given.faults.split(","))) - FAULTS.keys():
        parser.error(f"unknown faults: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # nodes and mounts end with it
    outcomes = {}
    for seed in range(given.seed, given.seed + given.seeds):
        options = options_of(given, seed)
        say(f"seed {seed}: {options.samples} samples into {options.sink} on {options.store}")
        try:
            outcomes[seed] = run_drill(options)
        except RuntimeError as error:  # the other seeds are worth their time
            outcomes[seed] = Outcome(0.0, Counter(), Counter(), [], None, str(error))
        tell(outcomes[seed])
    if given.seeds > 1:
        tell_all(outcomes)
    return int(not all(outcome.is_good for outcome in outcomes.values()))


def options_of(given: argparse.Namespace, seed: int) -> Options:
    """Fill in what depends on the seed and on the number of samples."""
    store = given.store or ("disk" if seed % 2 and may_mount() else "s3")
    chosen = list(filter(None, given.faults.split(","))) or list(FAULTS)
    elsewhere = OF_DISK if store == "s3" else OF_S3_SINK
    return Options(
        seed=seed,
        samples=given.samples,
        sink=given.sink or SINKS[seed % len(SINKS)],
        store=store,
        faults=[name for name in chosen if name not in elsewhere],
        every_s=given.every,
        faulty=given.faulty,
        killers=min(12, max(2, given.samples // 160)) if given.killers is None else given.killers,
        hangs=given.hangs,
        limit_s=MARGIN_S + given.samples,
    )


def tell(outcome: Outcome) -> None:
    """Print what a drill found."""
    say(f"{outcome.seconds:.0f} s under fire")
    say("done to it: " + ", ".join(f"{count} × {what}" for what, count in sorted(outcome.counts.items()) if count))
    say("S3: " + ", ".join(f"{count} {what}" for what, count in outcome.requests.most_common()))
    if outcome.missed:
        say("never done, since the job was done before: " + ", ".join(outcome.missed))
    if outcome.verdict is None:
        say(f"no comparison: {outcome.error}")
        return
    say(", ".join(f"{number} {difference}" for difference, number in outcome.verdict.differences.items()))
    found = ", ".join(f"{number} {kind}" for kind, number in outcome.verdict.quarantined.items())
    say(f"{found or 'nothing'} found and quarantined")
    for failure, number in outcome.verdict.strange.items():
        say(f"  {number} × {failure}")


def tell_all(outcomes: dict[int, Outcome]) -> None:
    """Print one line per drill."""
    columns = list(FAULTS)
    say("  ".join(["seed", "seconds", *columns, "differences"]))
    for seed, outcome in outcomes.items():
        counts = [f"{outcome.counts[name]:>{len(name)}}" for name in columns]
        found = outcome.error or "?"
        if outcome.verdict:
            found = "/".join(str(number) for number in outcome.verdict.differences.values())
        if outcome.missed:
            found += f", not done: {', '.join(outcome.missed)}"
        say("  ".join([f"{seed:4}", f"{outcome.seconds:7.0f}", *counts, found]))


if __name__ == "__main__":
    sys.exit(main())
