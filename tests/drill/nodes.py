"""The nodes of one cluster, which `ray start` has started: they join, leave, die, and come back with another head."""

import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from tests.drill.fast_worker import BRAKE, UNFIT
from tests.joined_cluster import Node, free_port, start_node, stop, wait_for

CPUS = 2  # of a node, room for one worker; the head has none
MAX_WORKERS = 4
WORKER = "MapBatches(Worker)"


class Nodes:
    """A head that runs no workers, and nodes that run one each.

    Args:
        folder: a short path, for temporary folders of the nodes.
        brake: file that slows the model down while it exists.
    """

    def __init__(self, folder: Path, brake: Path) -> None:
        self._folder, self._brake, self._port, self._numbers = folder, brake, free_port(), count()
        self.address = f"127.0.0.1:{self._port}"
        self.heads: list[Node] = []
        self.unfit: list[Node] = []
        self.fit: list[Node] = []

    @property
    def all(self) -> list[Node]:
        """Every node that runs, the head first."""
        return [*self.heads, *self.unfit, *self.fit]

    def start(self) -> None:
        """Start a head, at the same address each time, and one node; wait for both."""
        self.heads = [self._start(["--head", f"--port={self._port}", "--include-dashboard=false"], 0)]
        wait_for(self.heads, self._port)
        self.join()
        wait_for(self.all, self._port)

    def join(self, is_fit: bool = True) -> None:
        """Start one more node; does not wait until it has joined."""
        node = self._start([f"--address={self.address}"], CPUS, {} if is_fit else {UNFIT: "1"})
        (self.fit if is_fit else self.unfit).append(node)

    def kill(self) -> None:
        """Kill the oldest fit node; another takes its place unless others are left."""
        stop(self.fit.pop(0), is_graceful=False)
        if not self.fit:
            self.join()

    def drain(self, max_s: float) -> float:
        """Send SIGTERM to the `ray start` of the oldest fit node, and return the seconds until its end.

        Raises:
            RuntimeError: it has not ended after ``max_s``.
        """
        if len(self.fit) == 1:
            self.join()
        node, started = self.fit.pop(0), time.monotonic()
        node.process.send_signal(signal.SIGTERM)
        try:
            node.process.wait(max_s)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"node {node.name} has not ended {max_s:g} s after SIGTERM") from None
        finally:
            stop(node, is_graceful=False)
        return time.monotonic() - started

    def kill_all(self) -> None:
        """Kill every node, the head first."""
        for node in self.all:
            stop(node, is_graceful=False)
        self.heads, self.unfit, self.fit = [], [], []

    def workers(self) -> list[int]:
        """Return the process ids of all workers that run, in no order."""
        return [pid for node in self.all for pid in node.processes(WORKER)]

    def _start(self, flags: list[str], cpus: int, env: dict[str, str] | None = None) -> Node:
        name = f"node{next(self._numbers)}"
        home = {"HOME": str(self._folder)}  # without ~/.ray/auth_token, whatever the user has
        return start_node(name, self._folder, flags, cpus, {**home, BRAKE: str(self._brake), **(env or {})})


@contextlib.contextmanager
def started_nodes(brake: Path) -> Iterator[Nodes]:
    """Start a head and one node, and stop all at the end."""
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    nodes = Nodes(folder, brake)
    try:
        nodes.start()
        yield nodes
    finally:
        nodes.kill_all()
        shutil.rmtree(folder, ignore_errors=True)
