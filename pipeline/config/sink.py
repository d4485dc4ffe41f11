"""The section ``sink`` of a configuration."""

from dataclasses import dataclass, field
from typing import Any

from pipeline.config.rules import SinkRules
from pipeline.config.signing import checked_signing
from pipeline.config.values import absolute_uri, as_extension, choose
from pipeline.containers import CONTAINERS, KEEP, KEPT_FORMATS, METADATA_POLICIES
from pipeline.errors import ConfigError
from pipeline.sinks.registry import SINK_FORMATS

MAX_SHARD_BYTES = 1 << 30  # half of what a column of Arrow holds
RESULT_FORMATS = tuple(container.name.lower() for container in CONTAINERS if container.modes)
IMAGE_FORMATS = (*KEPT_FORMATS, "png", "webp", "jpeg")


@dataclass(frozen=True)
class SinkConfig:
    """Where results go, and how.

    Args:
        uri: folder or prefix that receives the results.
        format: ``images`` (one file per result), ``webdataset`` (tar shards) or ``parquet``.
        image_format: ``source`` keeps each image's own format; ``source-or-png`` does, too, but writes PNG where that
            format cannot hold the pixels, as of GIF, AVIF and HEIC; ``png`` and ``webp`` are lossless, ``jpeg`` is not.
        metadata: what results say beside their pixels: ``keep`` (what their photos say), ``mark`` (also that parts were
            generated, in XMP) or ``private`` (only what pixels need), see [metadata](../how-to/metadata.md).
        c2pa: where the PEM files are that results are signed with by C2PA: ``{certificates: chain.pem, key: key.pem}``;
            ``key: env:NAME`` takes the key from an environment variable; empty: results are not signed.
        carry: columns of a Parquet source or of a list, or extensions of members of tar shards, to store beside the
            results.
        shard_samples: maximum number of results per shard.
        shard_bytes: size at which a shard is full; its last result may exceed it.
    """

    uri: str = "out/"
    format: str = "images"
    image_format: str = "source"
    metadata: str = KEEP
    c2pa: dict[str, Any] = field(default_factory=dict)
    carry: list[str] = field(default_factory=list)
    shard_samples: int = 1000
    shard_bytes: int = 256 << 20

    def __post_init__(self) -> None:
        object.__setattr__(self, "uri", absolute_uri(self.uri, "sink.uri"))
        choose("sink.format", self.format, SINK_FORMATS)
        choose("sink.image_format", self.image_format, IMAGE_FORMATS)
        choose("sink.metadata", self.metadata, METADATA_POLICIES)
        object.__setattr__(self, "c2pa", checked_signing(self.c2pa))
        for key in ("shard_samples", "shard_bytes"):
            if getattr(self, key) < 1:
                raise ConfigError(f"sink.{key} must be positive, got {getattr(self, key)}")
        if self.shard_bytes > MAX_SHARD_BYTES:
            raise ConfigError(f"sink.shard_bytes must be at most {MAX_SHARD_BYTES}, got {self.shard_bytes}")
        if taken := sorted({as_extension(name) for name in self.carry} & self._own_names):
            raise ConfigError(
                f"sink.carry cannot take {', '.join(taken)}: results are called that in a {self.format} sink"
            )

    @property
    def _own_names(self) -> frozenset[str]:
        """Columns or members that a shard has of its own."""
        if columns := self.rules.own_columns:
            return frozenset(columns)
        return frozenset(
            ("sample_id", *(RESULT_FORMATS if self.image_format in KEPT_FORMATS else (self.image_format,)))
        )

    @property
    def is_sharded(self) -> bool:
        """Whether many results share a file."""
        return self.rules.is_sharded

    @property
    def rules(self) -> SinkRules:
        """Return the properties of the format."""
        rules: SinkRules = SINK_FORMATS.load(self.format)
        return rules
