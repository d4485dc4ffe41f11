"""Size of a job's worker pool: how many workers of which size a cluster holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.config.job import RunConfig
from pipeline.errors import ConfigError

CPUS_PER_CPU_ACTOR = 4
ROUNDING = 1e-6  # five times 0.2 GPUs are one GPU, although 1 // 0.2 is 4


@dataclass(frozen=True)
class Pool:
    """Size of the actor pool.

    Args:
        actors: how many.
        gpus: GPUs that each reserves.
        cpus: CPU cores that each reserves; the rest is left to Ray.
        threads: CPU threads that each uses for the model, and to decode and encode.
        per_node: maximum number per node.
    """

    actors: int
    gpus: float
    cpus: float
    threads: int
    per_node: int = 1

    @property
    def model_calls(self) -> int:
        """Model calls that can run at once: one per GPU worker, or one per CPU thread."""
        return self.actors * (1 if self.gpus else self.threads)


def check_precision(precision: str, pool: Pool) -> None:
    """Refuse a precision in which the workers of a pool do not compute.

    Raises:
        ConfigError: fp16 for workers without a GPU.
    """
    if precision == "fp16" and not pool.gpus:
        raise ConfigError(
            "model.precision=fp16 needs workers with a GPU; set model.precision=bf16 or fp32 for workers on CPUs"
        )


def shrink_pool(pool: Pool, run: RunConfig, nodes: Sequence[Mapping[str, float]]) -> Pool:
    """Return a pool for fewer nodes: as many workers of the same size as fit, and at least one."""
    try:
        fitting = size_pool(replace(run, actors="auto"), nodes).actors
    except ConfigError:  # no node that is left has room; the cluster may grow
        fitting = 1
    return replace(pool, actors=min(pool.actors, fitting))


def size_pool(run: RunConfig, nodes: Sequence[Mapping[str, float]]) -> Pool:
    """Fit the actor pool to the nodes of a cluster: every actor must fit onto one of them.

    Args:
        run: the requested pool.
        nodes: ``CPU`` and ``GPU`` of each node.

    Raises:
        ConfigError: more GPU actors than fit, fractions of several GPUs, or no CPU core.
    """
    gpus = sum(node.get("GPU", 0.0) for node in nodes)
    gpus_each = (1.0 if gpus else 0.0) if run.gpus_per_actor == "auto" else float(run.gpus_per_actor)
    if gpus_each > 1 and not gpus_each.is_integer():
        raise ConfigError(f"run.gpus_per_actor must be a part of one GPU or a whole number, got {gpus_each:g}")
    hosts = [node for node in nodes if node.get("CPU", 0) >= 1 and node.get("GPU", 0.0) >= gpus_each]
    if gpus_each:
        room = [int(node["GPU"] / gpus_each + ROUNDING) for node in hosts]
    else:
        room = [int(max(1, node["CPU"] // CPUS_PER_CPU_ACTOR)) for node in hosts]
    actors = sum(room) if run.actors == "auto" else int(run.actors)
    if not any(node.get("CPU", 0) >= 1 for node in nodes):
        raise ConfigError("no node of the cluster has a whole CPU core: start it with --num-cpus")
    if not hosts or (gpus_each and actors > sum(room)):
        raise ConfigError(f"run asks for {actors} actors with {gpus_each:g} GPUs each; the cluster has {gpus:g} GPUs")
    if not gpus_each and run.actors != "auto":
        room = [-(-actors // len(hosts))] * len(hosts)
    share = max(1, min(int(node["CPU"] // held) for node, held in zip(hosts, room, strict=True)))
    per_node = min(actors, max(room))
    # A part of each share stays free for other tasks of the cluster; threads are not bound by it.
    return Pool(actors, gpus_each, min(max(1, share * 4 // 5), share * 0.8), share, per_node)
