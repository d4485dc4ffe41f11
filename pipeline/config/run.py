"""The section ``run`` of a configuration."""

import re
from dataclasses import dataclass, field
from typing import Any

from pipeline.config.notify import parse_notify
from pipeline.config.slice import Slice
from pipeline.config.values import choose
from pipeline.errors import ConfigError

_ERROR_TYPE = re.compile(r"[A-Z]\w*|error")  # the latter of struct and zlib
_ACTORS = re.compile(r"(\d+)(?:\.\.(\d+))?")  # of run.actors


@dataclass(frozen=True)
class RunConfig:
    """How the job runs.

    Args:
        actors: number of workers; ``auto``: one per GPU, or without GPUs one per four CPU cores; ``1..8``: at least 1,
            at most 8. The last two follow the cluster: workers are added when nodes join during the run.
        gpus_per_actor: GPUs per worker; with a fraction, workers share a GPU; ``auto``: 1 if the cluster has GPUs.
        wait_for_gpus: seconds to wait for the first GPU of a cluster that has none yet, such as one that starts with
            its head node; 0 does not wait.
        address: address of the Ray cluster; null means ``RAY_ADDRESS``, else a local cluster for this job.
        slice: process only one slice of the samples, such as ``0/8``, ``1/8`` … ``7/8``, so that eight drivers work on
            one sink at once, see [several drivers](../how-to/operations.md#several-drivers-on-one-sink).
        resume: continue with a sink that holds results; false refuses it.
        select: redo the samples whose rows make this SQL expression true, such as ``seam_score > 2``, in addition to
            new and changed ones. All other rows stay, also those of other weights or settings.
        retry_failed: retry failed samples: true for all, or their error types, such as ``MissingMask,FileNotFound``.
        redo_changed: redo results of other weights or settings.
        report: write ``report.html`` into the sink when the run ends and has done something.
        log: format of the driver's log: ``text``, or ``json`` for log collectors.
        notify: a command, or the http(s) URL of a webhook, that gets the run's JSON when the run has ended, however it
            ended.
    """

    actors: int | str = "auto"
    gpus_per_actor: int | float | str = "auto"
    wait_for_gpus: float = 0.0
    address: str | None = None
    slice: str | None = None
    resume: bool = True
    select: str | None = None
    retry_failed: bool | str = False
    redo_changed: bool = False
    report: bool = True
    log: str = "text"
    notify: Any = field(default=None, repr=False)  # its path or arguments may be secrets

    def __post_init__(self) -> None:
        least, most = self.actor_bounds
        if not 1 <= least <= (least if most is None else most):
            raise ConfigError(
                f"run.actors must be auto, a positive number or a range such as 1..8, got {self.actors!r}"
            )
        if self.wait_for_gpus < 0:
            raise ConfigError(f"run.wait_for_gpus must be a number of seconds or 0, got {self.wait_for_gpus:g}")
        if self.select is not None and not self.select.strip():
            raise ConfigError("run.select must be an SQL expression over the columns of the manifest, or null")
        if self.gpus_per_actor != "auto" and (isinstance(self.gpus_per_actor, str) or self.gpus_per_actor < 0):
            raise ConfigError(f"run.gpus_per_actor must be auto or a number, got {self.gpus_per_actor!r}")
        if unknown := [name for name in self.retried_types if not _ERROR_TYPE.fullmatch(name)]:
            raise ConfigError(
                f"run.retry_failed must be true, false or error types such as MissingMask, got {unknown[0]!r}"
            )
        _ = self.own_slice
        choose("run.log", self.log, ("text", "json"))
        parse_notify(self.notify)

    @property
    def actor_bounds(self) -> tuple[int, int | None]:
        """Return the smallest and the largest number of workers; ``None``: as many as the cluster has room for.

        Both are 0 where ``actors`` is invalid, which the constructor refuses.
        """
        if self.actors == "auto":
            return 1, None
        if not (bounds := _ACTORS.fullmatch(str(self.actors))):
            return 0, 0
        least, most = bounds.groups()
        return int(least), int(most or least)

    @property
    def own_slice(self) -> Slice | None:
        """The slice that this run processes; ``None`` for the whole sink."""
        return None if self.slice is None else Slice.parse(self.slice)

    @property
    def retried_types(self) -> list[str]:
        """Error types whose samples are to be done again, where they are named."""
        return [] if isinstance(self.retry_failed, bool) else re.findall(r"[^,\s]+", self.retry_failed)
