"""The part of a training run that reads samples, as a job that the pipeline's readers take."""

from dataclasses import dataclass, field
from typing import Any

from pipeline.config.deciding import deciding
from pipeline.config.job import JobConfig
from pipeline.config.mask import MaskConfig
from pipeline.config.sink import SinkConfig
from pipeline.config.source import SourceConfig
from pipeline.uris import public_uri

NO_MASKS = "alpha"  # a kind whose masks need no file
_OF_SOURCE = ("uri", "format", "pattern", "image", "key")  # that decide the samples and their names


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

    def deciding_keys(self) -> dict[str, Any]:
        """Return the keys that decide which crops come, and in which order, with their values without secrets."""
        keys: dict[str, Any] = {f"source.{key}": getattr(self.source, key) for key in _OF_SOURCE}
        keys |= {"source.uri": public_uri(self.source.uri), "mask.kind": None, "masks": [*self.kinds]}
        keys |= {key: getattr(self, key) for key in ("size_px", "shuffle", "seed")}
        if self.mask is None:
            return keys
        others = ("also",) if self.mask.kind == "paired" else ("also", "uri")
        mask = {f"mask.{key}": value for key, value in deciding(self.mask, others).items()}
        if "mask.uri" in mask:
            mask["mask.uri"] = public_uri(self.mask.uri)
        return keys | mask | {"object_share": self.object_share}
