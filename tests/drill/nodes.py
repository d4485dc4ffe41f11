"""The nodes of a drill: a head that runs no workers, and nodes that run one each, some of them unfit."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.drill.fast_worker import BRAKE, UNFIT
from tests.growing_cluster import GrowingCluster, growing_cluster
from tests.joined_cluster import Node

CPUS = 2  # of a node, room for one worker; the head has none
MAX_WORKERS = 4
WORKER = "MapBatches(Worker)"


class Nodes:
    """The nodes of a cluster, which always has one that is fit.

    Args:
        cluster: with a head only.
    """

    def __init__(self, cluster: GrowingCluster) -> None:
        self._cluster, self.address = cluster, cluster.address
        self.fit: list[Node] = []
        self._begin()

    @property
    def all(self) -> list[Node]:
        """Every node that runs, the head first."""
        return self._cluster.nodes

    def start(self) -> None:
        """Start a head, at the same address each time, and one node; wait for both."""
        self._cluster.start()
        self._begin()

    def join(self, is_fit: bool = True) -> None:
        """Start one more node; does not wait until it has joined."""
        node = self._cluster.join({} if is_fit else {UNFIT: "1"})
        self.fit += [node] * is_fit

    def kill(self) -> None:
        """Kill the oldest fit node; another takes its place unless others are left."""
        self._cluster.kill(self.fit.pop(0))
        if not self.fit:
            self.join()

    def drain(self, max_s: float) -> float:
        """Drain the oldest fit node, see :meth:`GrowingCluster.drain`; another joins before if it is the only one."""
        if len(self.fit) == 1:
            self.join()
        return self._cluster.drain(self.fit.pop(0), max_s)

    def kill_all(self) -> None:
        """Kill every node, the head first."""
        self._cluster.kill_all()
        self.fit = []

    def workers(self) -> list[int]:
        """Return the process ids of all workers that run, in no order."""
        return [pid for node in self.all for pid in node.processes(WORKER)]

    def _begin(self) -> None:
        self.join()
        self._cluster.wait()


@contextlib.contextmanager
def started_nodes(brake: Path) -> Iterator[Nodes]:
    """Start a head and one node, and stop all at the end.

    Args:
        brake: file that slows the model down while it exists.
    """
    with growing_cluster(head_cpus=0, cpus=CPUS, env={BRAKE: str(brake)}) as cluster:
        yield Nodes(cluster)
