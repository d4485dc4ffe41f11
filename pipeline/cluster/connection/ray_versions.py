"""Differences between the releases of Ray that pyproject.toml allows."""

from inspect import signature
from typing import Any

import ray


def actor_pool(max_units: int, max_calls: int, **sizes: int) -> dict[str, Any]:
    """Return the arguments of ``map_batches`` for actors that work on several units at the same time.

    Args:
        max_units: units that an actor holds, including those that wait in it.
        max_calls: units that an actor works on, each in a thread of its own.
        sizes: numbers of actors, as ``ActorPoolStrategy`` takes them.
    """
    strategy = ray.data.ActorPoolStrategy
    options = {**sizes, "max_tasks_in_flight_per_actor": max_units, "enable_true_multi_threading": True}
    if "max_concurrent_calls_per_actor" in signature(strategy).parameters:
        return {"compute": strategy(**options, max_concurrent_calls_per_actor=max_calls)}
    return {"compute": strategy(**options), "max_concurrency": max_calls}  # before Ray 2.59; removed in 2.64
