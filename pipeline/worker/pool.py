"""Size of a job's worker pool: how many workers of which size a cluster has room for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.config.job import RunConfig
from pipeline.errors import ConfigError

CPUS_PER_CPU_ACTOR = 4
WHOLE = 0.97  # part of its cores that a worker reserves: all workers of a node fit, and some is left for other tasks
ROUNDING = 1e-6  # five times 0.2 GPUs are one GPU, although 1 // 0.2 is 4


@dataclass(frozen=True)
class Pool:
    """Size of the worker pool.

    Args:
        actors: number of workers at the start.
        gpus: GPUs that each reserves.
        cpus: CPU cores that each reserves; the rest is left to Ray.
        threads: CPU threads that each uses for the model, and to decode and encode.
        least: number of workers that are started even if the cluster has no room for them yet.
        most: number of workers that the pool may grow to; ``None``: as many as the cluster has room for.
    """

    actors: int
    gpus: float
    cpus: float
    threads: int
    least: int = 1
    most: int | None = 1

    @property
    def calls_each(self) -> int:
        """Model calls that a worker can run at once: one on a GPU, one per thread on a CPU."""
        return 1 if self.gpus else self.threads

    def room_on(self, node: Mapping[str, float]) -> int:
        """Return how many workers a node of these resources has room for, at least one."""
        room = int(min(node.get(kind, 0.0) / each + ROUNDING for kind, each in self._needs()))
        return max(1, room if self.most is None else min(room, self.most))

    def _needs(self) -> list[tuple[str, float]]:
        return [(kind, each) for kind, each in (("CPU", self.cpus), ("GPU", self.gpus)) if each]


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
    actors = min(pool.actors, fitting)
    return replace(pool, actors=actors, least=min(pool.least, actors))


def size_pool(run: RunConfig, nodes: Sequence[Mapping[str, float]], may_grow: bool = False) -> Pool:
    """Fit the worker pool to the nodes of a cluster: every worker must fit onto one of them.

    Args:
        run: the requested pool.
        nodes: ``CPU`` and ``GPU`` of each node.
        may_grow: whether nodes may join later.

    Raises:
        ConfigError: more GPU workers than fit, fractions of several GPUs, or no CPU core.
    """
    gpus = sum(node.get("GPU", 0.0) for node in nodes)
    gpus_each = (1.0 if gpus else 0.0) if run.gpus_per_actor == "auto" else float(run.gpus_per_actor)
    if gpus_each > 1 and not gpus_each.is_integer():
        raise ConfigError(f"run.gpus_per_actor must be a part of one GPU or a whole number, got {gpus_each:g}")
    if not any(node.get("CPU", 0) >= 1 for node in nodes):
        raise ConfigError("no node of the cluster has a whole CPU core: start it with --num-cpus")
    hosts = [node for node in nodes if node.get("CPU", 0) >= 1 and node.get("GPU", 0.0) >= gpus_each]
    if gpus_each:
        room = [int(node["GPU"] / gpus_each + ROUNDING) for node in hosts]
    else:
        room = [int(max(1, node["CPU"] // CPUS_PER_CPU_ACTOR)) for node in hosts]
    least, most = run.actor_bounds
    actors = max(least, min(sum(room), most or sum(room)))
    may_grow = may_grow and most != least
    if not hosts or (gpus_each and actors > sum(room) and not may_grow):
        raise ConfigError(
            f"run asks for {actors} workers with {gpus_each:g} GPUs each; the cluster has {gpus:g} GPUs. "
            f"run.actors=1..{actors} starts with those that are there, run.wait_for_gpus waits for the first"
        )
    if not gpus_each and most is not None:
        room = [-(-actors // len(hosts))] * len(hosts)
    share = max(1, min(int(node["CPU"] // held) for node, held in zip(hosts, room, strict=True) if held))
    if not may_grow:
        return Pool(actors, gpus_each, min(max(1, share * 4 // 5), share * 0.8), share, actors, actors)
    return Pool(actors, gpus_each, min(1.0, share * 0.8) if gpus_each else share * WHOLE, share, least, most)
