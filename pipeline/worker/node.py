"""The node that a worker runs on."""

from collections.abc import Mapping

import ray


def own_node_resources() -> Mapping[str, float]:
    """Return what the node of this process has, ``CPU`` and ``GPU`` among others; nothing without Ray."""
    if not ray.is_initialized():
        return {}
    node_id = ray.get_runtime_context().get_node_id()
    return next((node["Resources"] for node in ray.nodes() if node["NodeID"] == node_id), {})
