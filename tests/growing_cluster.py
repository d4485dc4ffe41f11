"""A real Ray cluster that grows and shrinks: nodes join, leave with notice, die, and come back under another head."""

import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path

from tests.joined_cluster import Node, free_port, start_node, stop, wait_for


class GrowingCluster:
    """A head, and nodes of one kind that join and leave it.

    Args:
        folder: a short path, for temporary folders of the nodes.
        head_cpus, cpus: CPUs that the head offers, and each other node.
        flags: of ``ray start`` on nodes that join, such as ``--num-gpus=1``.
        env: added to the environment of all nodes.
    """

    def __init__(
        self,
        folder: Path,
        head_cpus: int = 1,
        cpus: int = 1,
        flags: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._folder, self._port, self._numbers = folder, free_port(), count()
        self._head_cpus, self._cpus, self._flags = head_cpus, cpus, flags
        self._env = {"HOME": str(folder), **(env or {})}  # without ~/.ray/auth_token, whatever the user has
        self.address = f"127.0.0.1:{self._port}"
        self.nodes: list[Node] = []  # that run, the head first

    def start(self) -> None:
        """Start a head, at the same address each time, and wait for it."""
        self._start("head", ["--head", f"--port={self._port}", "--include-dashboard=false"], self._head_cpus, {})
        self.wait()

    def join(self, env: Mapping[str, str] | None = None) -> Node:
        """Start one more node, with more in its environment; does not wait until it has joined."""
        return self._start("node", [f"--address={self.address}", *self._flags], self._cpus, env or {})

    def wait(self) -> None:
        """Wait until all nodes have joined."""
        wait_for(self.nodes, self._port)

    def drain(self, node: Node, max_s: float) -> float:
        """Send SIGTERM to the ``ray start`` of a node, and return the seconds until its end.

        Raises:
            RuntimeError: it has not ended after ``max_s``, and was killed.
        """
        started = time.monotonic()
        node.process.send_signal(signal.SIGTERM)
        try:
            node.process.wait(max_s)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"node {node.name} has not ended {max_s:g} s after SIGTERM") from None
        finally:
            self.kill(node)
        return time.monotonic() - started

    def kill(self, node: Node) -> None:
        """Kill all processes of a node."""
        stop(node, is_graceful=False)
        self.nodes.remove(node)

    def kill_all(self) -> None:
        """Kill every node, the head first."""
        for node in list(self.nodes):
            self.kill(node)

    def _start(self, kind: str, flags: Sequence[str], cpus: int, env: Mapping[str, str]) -> Node:
        name = f"{kind}{next(self._numbers)}"
        self.nodes.append(start_node(name, self._folder, list(flags), cpus, {**self._env, **env}))
        return self.nodes[-1]


@contextlib.contextmanager
def growing_cluster(**options) -> Iterator[GrowingCluster]:
    """Start a cluster of a head only, and stop all of its nodes at the end.

    Args:
        options: of :class:`GrowingCluster`.
    """
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    cluster = GrowingCluster(folder, **options)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill_all()
        shutil.rmtree(folder, ignore_errors=True)
