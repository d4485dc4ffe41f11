"""The pool of workers of a job."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pool:
    """Size of the actor pool.

    Args:
        actors: how many.
        gpus: GPUs that each reserves.
        cpus: CPU cores that each reserves; the rest is left to Ray.
        threads: CPU threads that each uses for the model, and to decode and encode.
        per_node: how many share a node at most.
        task_cpus: CPU cores that a task takes which decodes or encodes.
    """

    actors: int
    gpus: float
    cpus: float
    threads: int
    per_node: int = 1
    task_cpus: float = 0.1

    @property
    def model_calls(self) -> int:
        """Calls of the model that can run at once: one a GPU worker, on CPUs one a thread."""
        return self.actors * (1 if self.gpus else self.threads)
