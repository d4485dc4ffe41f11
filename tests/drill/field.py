"""Where a drill happens: the driver under fire, its nodes, its storage, and the counts of what was done to them."""

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.cluster.connection.ray_process import RECONNECT
from pipeline.manifest.lease_file import KEY
from pipeline.storage.storage import Storage
from tests.drill.faulty_proxy import Weather
from tests.drill.nodes import Nodes
from tests.joined_cluster import DRIVER, ROOT

LOOK_S = 0.2
RECONNECT_S = 20.0  # a driver waits so long for a head node; 60 s by default
END_S = 120.0  # a driver that has to end does so within this time


class DrillError(RuntimeError):
    """Something did not happen in the time that it may take."""


@dataclass
class Field:
    """The driver and what it needs.

    Args:
        command: of the driver.
        sink: that it fills.
        nodes: of its cluster.
        dice: of the drill.
        log: file that receives the outputs of all drivers.
        deadline: on the monotonic clock, for the whole job under fire.
        disk: folder of the sink on a small disk of its own; ``None``: the sink is not on a disk.
        weather: what S3 does.
        counts: how often each fault was done, and how drivers ended.
        driver: that the drill waits for; for a while, another one may run or sleep beside it.
    """

    command: Sequence[str]
    sink: Storage
    nodes: Nodes
    dice: random.Random
    log: Path
    deadline: float = float("inf")
    disk: Path | None = None
    weather: Weather = Weather.FAIR
    counts: Counter[str] = field(default_factory=Counter)
    driver: subprocess.Popen | None = None
    _drivers: list[subprocess.Popen] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        """Whether the driver has ended with exit code 0."""
        return self.driver is not None and self.driver.poll() == 0

    def new_driver(self) -> subprocess.Popen:
        """Start a driver."""
        env = {**os.environ, **DRIVER, RECONNECT: f"{RECONNECT_S:g}"}
        with self.log.open("ab") as log:
            self._drivers.append(subprocess.Popen(self.command, cwd=ROOT, env=env, stdout=log, stderr=log))
        return self._drivers[-1]

    def wait(self, seconds: float) -> None:
        """Let the driver work for a while, start it again where it has ended otherwise, and return once it is done.

        Raises:
            DrillError: the job is not done in time.
        """
        until = time.monotonic() + seconds
        while not self.is_done and time.monotonic() < until:
            if self.driver is None or self.driver.poll() is not None:
                self._count_end()
                self.driver = self.new_driver()
            if time.monotonic() > self.deadline:
                raise DrillError("the job is not done in time")
            time.sleep(LOOK_S)

    @property
    def is_at_work(self) -> bool:
        """Whether no other driver holds the sink, and there is a worker; one that was woken goes on without a lease."""
        return self.driver is not None and self.holder() in (self.driver.pid, None) and bool(self.nodes.workers())

    def holder(self) -> int | None:
        """Return the process id of the driver that holds the sink, if any does."""
        try:
            return json.loads(self.sink.read(KEY))["pid"]
        except FileNotFoundError:
            return None

    def wait_for_work(self) -> None:
        """Wait until the driver is at work, or done."""
        while not (self.is_done or self.is_at_work):
            self.wait(1.0)

    def wait_for_one(self, *drivers: subprocess.Popen) -> subprocess.Popen:
        """Wait until one of some drivers has ended, and return it.

        Raises:
            DrillError: all of them go on.
        """
        until = time.monotonic() + END_S
        while time.monotonic() < until:
            for driver in drivers:
                if driver.poll() is not None:
                    return driver
            time.sleep(LOOK_S)
        raise DrillError(f"none of {len(drivers)} drivers has ended after {END_S:g} s")

    def end(self) -> None:
        """Kill all drivers that still run."""
        for driver in self._drivers:
            driver.kill()
            driver.wait()

    def processes(self) -> dict[int, str]:
        """Return the titles of all processes that nodes of the cluster have started for jobs, by process id."""
        raylets = {pid for node in self.nodes.all for pid in node.processes("raylet/raylet")}
        found = {}
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):  # gone by now
                title = process.read_text()
                parent = int((process.parent / "stat").read_text().rpartition(")")[2].split()[1])
                if parent in raylets and title.startswith("ray::") and "Agent" not in title:  # agents are of the node
                    found[int(process.parent.name)] = title
        return found

    def pick(self, title: str = "") -> int | None:
        """Choose one of these processes whose title contains this, if there is any."""
        found = sorted(pid for pid, found in self.processes().items() if title in found)
        return self.dice.choice(found) if found else None

    def _count_end(self) -> None:
        if self.driver is not None and self.driver.returncode != -signal.SIGKILL:
            self.counts[f"driver ended with exit code {self.driver.returncode}"] += 1
