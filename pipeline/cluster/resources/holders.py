"""Says which resources are missing to start workers, and who holds them."""

import re
from collections import Counter
from collections.abc import Mapping

import ray

from pipeline.cluster.connection.ray_private import jobs, placed_actors
from pipeline.worker.pool import Pool

KINDS = ("CPU", "GPU")
MAX_HOLDERS = 4  # that are named, the largest ones
_SCRIPT = re.compile(r"\S+ (?:-m )?(?:\S*/)?(\w[\w.-]{0,79})(?:\s|\Z)")  # of a command that runs Python


def describe_shortage(pool: Pool) -> str:
    """Describe, for a line of the log, what a worker takes, what is free in the cluster, and who holds the rest."""
    has, free = ray.cluster_resources(), ray.available_resources()
    kinds = [kind for kind in KINDS if kind == "CPU" or pool.gpus]
    room = " and ".join(f"{free.get(kind, 0):g} of {has.get(kind, 0):g} {kind}s" for kind in kinds)
    each = f"{pool.cpus:g} CPUs" + (f" and {pool.gpus:g} GPUs" if pool.gpus else "")
    held = {kind: has.get(kind, 0) - free.get(kind, 0) for kind in kinds}
    holders = _holders(kinds, held)
    return f"A worker takes {each} of one node; free in the cluster are {room}" + (
        f". Held by others: {'; '.join(holders)}" if holders else ""
    )


def _holders(kinds: list[str], held: Mapping[str, float]) -> list[str]:
    """Name other jobs with the resources of their actors, then what remains: tasks, placement groups and others."""
    own = ray.get_runtime_context().get_job_id()
    rest, of_jobs = Counter(held), dict[str, Counter[str]]()
    for job, resources in placed_actors():
        taken = Counter({kind: resources.get(kind, 0) for kind in kinds})
        rest.subtract(taken)
        if job != own:
            of_jobs.setdefault(job, Counter()).update(taken)
    entries = {job["JobID"]: job for job in jobs()}
    largest = sorted(of_jobs.items(), key=lambda found: [-found[1][kind] for kind in reversed(kinds)])
    named = [f"{_name(entries.get(job, {}), job)} has {_text(taken)}" for job, taken in largest if any(taken.values())]
    for taken in (taken for _, taken in largest[MAX_HOLDERS:]):
        rest.update(taken)
    others = Counter({kind: count for kind, count in rest.items() if count > 1e-6})
    return [*named[:MAX_HOLDERS], *([f"tasks, placement groups and others have {_text(others)}"] if others else [])]


def _text(resources: Mapping[str, float]) -> str:
    return " and ".join(f"{count:g} {kind}s" for kind, count in resources.items() if count > 1e-6)


def _name(job: Mapping[str, str], job_id: str) -> str:
    """Name a job by its script; the other arguments of its command may be secrets."""
    script = _SCRIPT.match(job.get("Entrypoint", ""))
    facts = [script[1]] if script else []
    if place := job.get("DriverIPAddress"):
        facts.append(f"from {place}")
    return f"job {job_id}" + (f" ({' '.join(facts)})" if facts else "")
