"""The part of a training run that reads samples, as a job that the pipeline's readers take."""

from dataclasses import dataclass, field
from typing import Any

from pipeline.config.job import JobConfig
from pipeline.config.mask import MaskConfig
from pipeline.config.sink import SinkConfig
from pipeline.config.source import SourceConfig

NO_MASKS = "alpha"  # a kind whose masks need no file


@dataclass(frozen=True)
class StreamSettings:
    """Settings that decide a stream of crops.

    Args:
        source: where the photos are.
        mask: masks of objects; ``None`` for none.
        storage: options of storages.
        size_px: side of the crops.
        kinds: kinds of random masks.
        object_share: share of samples with the mask of an object that use it.
        shuffle: samples that are shuffled together.
        seed: seed of everything.
        latent_shape: channels and side where the source holds latents in place of photos.
    """

    source: SourceConfig
    mask: MaskConfig | None
    size_px: int
    kinds: tuple[str, ...]
    object_share: float = 0.5
    shuffle: int = 256
    seed: int = 0
    latent_shape: tuple[int, int] | None = None
    storage: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def job(self) -> JobConfig:
        """Return a job that reads the same source and masks; it is never run."""
        return JobConfig(
            source=self.source, mask=self.mask or MaskConfig(kind=NO_MASKS), sink=SinkConfig(), storage=self.storage
        )
