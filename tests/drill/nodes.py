"""Four nodes that `ray start` has started, one of them unfit; all but the head can be killed and replaced."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from tests.drill.fast_worker import UNFIT
from tests.joined_cluster import Node, free_port, start_node, stop, wait_for

CPUS = 2


class Nodes:
    """The nodes of one cluster, which a driver joins at ``address``.

    Args:
        folder: a short path, for temporary folders of the nodes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._port, self._numbers = folder, free_port(), count()
        self.address = f"127.0.0.1:{self._port}"
        flags = ["--head", f"--port={self._port}", "--include-dashboard=false"]
        self.head = start_node("head", folder, flags, CPUS, self._environment())
        wait_for([self.head], self._port)
        self.unfit = self._start({UNFIT: "1"})
        self.fit = [self._start({}), self._start({})]
        wait_for([self.head, self.unfit, *self.fit], self._port)

    @property
    def all(self) -> list[Node]:
        """Every node that runs."""
        return [self.head, self.unfit, *self.fit]

    def replace_one(self) -> None:
        """Kill the oldest of the two fit nodes that are not the head, and start another."""
        stop(self.fit.pop(0), is_graceful=False)
        self.fit.append(self._start({}))

    def _start(self, env: dict[str, str]) -> Node:
        name = f"node{next(self._numbers)}"
        return start_node(name, self._folder, [f"--address={self.address}"], CPUS, {**self._environment(), **env})

    def _environment(self) -> dict[str, str]:
        return {"HOME": str(self._folder)}  # without ~/.ray/auth_token, whatever the user has


@contextlib.contextmanager
def started_nodes() -> Iterator[Nodes]:
    """Start the nodes, and stop them at the end."""
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    nodes = None
    try:
        nodes = Nodes(folder)
        yield nodes
    finally:
        for node in reversed(nodes.all if nodes else []):
            stop(node, is_graceful=False)
        shutil.rmtree(folder, ignore_errors=True)
