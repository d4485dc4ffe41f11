"""Nodes of the connected cluster, and how workers are kept off some of them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import ray

from pipeline.cluster.connection.ray_private import draining_nodes


@dataclass(frozen=True)
class ClusterNode:
    """A node of the connected cluster.

    Args:
        node_id: what Ray calls it.
        host: name of its machine.
        resources: what it has, ``CPU`` and ``GPU`` among others.
    """

    node_id: str
    host: str
    resources: Mapping[str, float]


def cluster_nodes() -> list[ClusterNode]:
    """Return the nodes of the connected cluster that are alive."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    return [ClusterNode(node["NodeID"], node["NodeManagerHostname"], node["Resources"]) for node in alive]


def node_resources(avoided: Collection[str] = ()) -> list[Mapping[str, float]]:
    """Return what each node of the connected cluster has, except those with some ids."""
    return [node.resources for node in cluster_nodes() if node.node_id not in avoided]


def this_node_leaves() -> bool:
    """Return whether the node of this process is being drained: preempted, or its `ray start` has received SIGTERM."""
    return ray.get_runtime_context().get_node_id() in draining_nodes()


def avoiding(node_ids: Collection[str]) -> dict[str, Any]:
    """Return the arguments of ``map_batches`` that keep its workers and tasks off some nodes.

    Size the pool by the other nodes: workers that only fit onto an avoided node never start.
    """
    if not node_ids:
        return {}
    return {"label_selector": {"ray.io/node-id": f"!in({','.join(sorted(node_ids))})"}}
