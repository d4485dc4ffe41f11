"""Size of a job's worker pool."""

from dataclasses import dataclass


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
