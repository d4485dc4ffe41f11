"""The configuration of a training run."""

from dataclasses import dataclass, field
from typing import Any

from moebius.train.settings import TrainSettings
from pipeline.config.mask import MaskConfig
from pipeline.config.source import SourceConfig

OBJECT_KINDS = ("member", "column", "paired")


@dataclass(frozen=True)
class TrainingConfig(TrainSettings):
    """Settings of a training run, its source and its number of processes.

    Args:
        source: photos to stream instead of ``photos``, with the keys of a job's `source`: ``format``, ``uri`` …; null:
            none.
        mask: masks of objects in these photos, with the keys of a job's `mask`, of the kinds ``member``, ``column``,
            and ``paired`` with a ``template``; their holes train the category ids 10–19. null: only random masks.
        latents: folder, local or remote, of latents that are encoded once from ``source``, as many as ``cached``, and
            streamed from then on; with several processes it must be complete. Empty: crops are encoded in each step.
        object_share: share of the samples with a mask of an object that use it; the others have a random one.
        shuffle: samples that are shuffled together, within shards that are shuffled themselves; so many crops are held
            in memory.
        storage: options of the storage of ``source`` and ``folder``, as in a job.
        processes: 1 trains in this process, without Ray; more are workers of Ray Train, all of which must see
            ``folder`` and ``photos``, and each of which takes ``batch_size`` crops per batch.

    Raises:
        ValueError: a value out of range.
    """

    source: SourceConfig | None = None
    mask: MaskConfig | None = None
    latents: str = ""
    object_share: float = 0.5
    shuffle: int = 256
    storage: dict[str, Any] = field(default_factory=dict, repr=False)  # may hold secrets
    processes: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("processes", "shuffle"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.object_share <= 1:
            raise ValueError(f"object_share must be in 0 … 1, got {self.object_share}")
        if self.source is None:
            for name in ("mask", "latents"):
                if getattr(self, name):
                    raise ValueError(f"{name} needs source")
        else:
            self._check_stream(self.source)

    def _check_stream(self, source: SourceConfig) -> None:
        if self.photos:
            raise ValueError(f"photos and source exclude each other, got photos={self.photos}")
        if bool(self.cached) != bool(self.latents):
            raise ValueError("with source, cached is the number of latents, and latents the folder: set both or none")
        if self.latents and self.mode == "vae":
            raise ValueError("latents have no meaning for mode vae")
        if source.rules.is_list:
            raise ValueError("source.format must be images, webdataset or parquet to train, got list")
        if self.mask is not None:
            self._check_mask(self.mask, source)

    def has(self, name: str) -> bool:
        """See :meth:`TrainSettings.has`; photos may come from ``source``."""
        return super().has(name) or (name == "photos" and self.source is not None)

    @staticmethod
    def _check_mask(mask: MaskConfig, source: SourceConfig) -> None:
        if mask.kind not in OBJECT_KINDS:
            raise ValueError(f"mask.kind must be one of {', '.join(OBJECT_KINDS)} to train, got {mask.kind}")
        if mask.kind == "paired" and (not mask.template or "{n}" in mask.template):
            raise ValueError("mask.kind=paired needs mask.template without {n} to train, where no mask is looked for")
        if mask.also:
            raise ValueError("mask.also has no meaning for training")
        mask.rules.check(source.format)
