"""Measure a job on a cluster that grows from one node to four and shrinks to two: ``python benchmarks/elastic.py``.

Nodes of one GPU each, as Ray sees them, on this machine; the model sleeps. Prints for every node the seconds from its
joining to the first batch of its worker, and the share of the time in which workers were busy: of the time between the
first and the last batch of each, and of the time that its node was there while the job had work.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from pipeline.bench.flow import write_corpus  # noqa: E402 - see above
from tests.growing_cluster import GrowingCluster, growing_cluster  # noqa: E402
from tests.joined_cluster import Node, run_driver  # noqa: E402

JOB = """
import os, sys
from functools import partial
from pathlib import Path

import jobs.inpaint
from pipeline.bench.flow import SleepingActor
from pipeline.executor.ray_data import RayExecutor

config, logs, batch_s = sys.argv[1:]
sys.exit(jobs.inpaint.main([config], RayExecutor(partial(SleepingActor, batch_s=float(batch_s), logs=Path(logs)))))
"""


@dataclass
class Life:
    """When a node was there, and the calls of the model on it, by one monotonic clock."""

    node: Node
    joined: float
    left: float = float("inf")
    calls: list[tuple[float, float]] = field(default_factory=list)


class Lives:
    """The nodes of a cluster, and when each came and left."""

    def __init__(self, cluster: GrowingCluster) -> None:
        self.cluster = cluster
        self.lives: list[Life] = []

    def join(self) -> Life:
        """Let a node join, and wait for it."""
        node = self.cluster.join()
        self.cluster.wait()
        self.lives.append(Life(node, time.monotonic()))
        return self.lives[-1]

    def leave(self, index: int) -> float:
        """Send SIGTERM to a node's ``ray start``, and return the seconds until it has ended."""
        life = self.lives[index]
        life.left = time.monotonic()
        return self.cluster.drain(life.node, 60)


def main() -> None:
    """Run the job and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=3000)
    parser.add_argument("--batch-s", type=float, default=0.5, help="seconds of one call of the model")
    parser.add_argument("--every-s", type=float, default=30.0, help="seconds between two changes of the cluster")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, growing_cluster(flags=["--num-gpus=1"]) as cluster:
        folder, lives = Path(name), Lives(cluster)
        (folder / "logs").mkdir()
        write_corpus(folder, options.samples, 128)
        run = {"address": cluster.address, "actors": "1..4", "wait_for_gpus": 60, "report": False}
        places = {
            "source": {"uri": f"{folder}/photos"},
            "mask": {"uri": f"{folder}/masks"},
            "sink": {"uri": f"{folder}/out"},
        }
        (folder / "job.yaml").write_text(json.dumps({**places, "model": {"batch_size": 4}, "run": run}))
        driver = run_driver(JOB, f"{folder}/job.yaml", f"{folder}/logs", str(options.batch_s))
        change(lives, driver, options.every_s, folder / "logs")
        _, errors = driver.communicate(timeout=600)
        print(errors.splitlines()[-1])  # noqa: T201 - this script talks to a person
        show(lives.lives, folder / "logs")


def change(lives: Lives, driver: subprocess.Popen, every_s: float, logs: Path) -> None:
    """Let nodes join one by one until there are four, then two leave; note which log is whose worker's."""
    steps = [lives.join] * 4 + [lambda: lives.leave(0), lambda: lives.leave(1)]
    for step in steps:
        known = {path.name for path in logs.iterdir()}
        result = step()
        if isinstance(result, float):
            print(f"left {result:.1f} s after SIGTERM")  # noqa: T201
        deadline = time.monotonic() + every_s
        while driver.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        if isinstance(result, Life):
            new = sorted({path.name for path in logs.iterdir()} - known)
            print(f"a node joined, new workers: {', '.join(new) or 'none'}")  # noqa: T201


def show(lives: Sequence[Life], logs: Path) -> None:
    """Print the figures of each worker and of all."""
    calls = {
        path.stem: [tuple(map(float, line.split())) for line in path.read_text().splitlines()]
        for path in logs.iterdir()
    }
    calls = dict(sorted((pid, found) for pid, found in calls.items() if found))
    end = max(last for found in calls.values() for _, last in found)
    busy = sum(last - first for found in calls.values() for first, last in found)
    spans = sum(found[-1][1] - found[0][0] for found in calls.values())
    first = min(found[0][0] for found in calls.values())
    there = sum(max(0.0, min(life.left, end) - max(life.joined, first)) for life in lives)
    starts = sorted(found[0][0] for found in calls.values())
    for life, start in zip(lives, starts, strict=False):
        print(f"first batch {start - life.joined:.1f} s after the node had joined")  # noqa: T201
    print(f"busy {busy / spans:.1%} between first and last batch of each worker, {busy / there:.1%} of the nodes' time")  # noqa: T201


if __name__ == "__main__":
    main()
