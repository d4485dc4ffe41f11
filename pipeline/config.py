"""The configuration of a job as frozen dataclasses; the keys are those of ``conf/*.yaml``."""

import hashlib
import json
import os
import re
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from moebius.settings import HUB_WEIGHTS, InpaintSettings
from pipeline.errors import ConfigError

SOURCE_FORMATS = ("images", "webdataset", "parquet")
MASK_KINDS = ("paired", "static", "member", "column", "alpha", "boxes", "coco", "text")
ANCHORS = ("top-left", "top-right", "bottom-left", "bottom-right")
SINK_FORMATS = ("images", "webdataset", "parquet")
SHARD_NAME = re.compile(r"[^/]*([*?\[{]|\.(tar|tar\.gz|tgz|parquet|pq)$)")
MOST_SHARD_BYTES = 1 << 30  # half of what a column of Arrow holds
IMAGE_FORMATS = ("source", "png", "webp", "jpeg")


_MASK_PLACES = ("uri", "template", "member", "column")


def absolute_uri(uri: str) -> str:
    """A local path as an absolute one, since workers run elsewhere; any other uri as it is.

    Raises:
        ConfigError: an empty uri.
    """
    if not uri:
        raise ConfigError("a uri must not be empty")
    if "@" in urlsplit(uri).netloc:
        raise ConfigError("a uri must not hold a user name or password; put them into storage or the environment")
    return uri if "://" in uri else os.path.abspath(os.path.expanduser(uri))


def _choose(key: str, value: str, choices: Collection[str]) -> None:
    if value not in choices:
        raise ConfigError(f"{key} must be one of {', '.join(choices)}, got {value!r}")


@dataclass(frozen=True)
class SourceConfig:
    """Where the images are.

    Args:
        format: ``images`` (files), ``webdataset`` (tar shards) or ``parquet``.
        uri: folder or prefix of the files; of shards also one file, or names with globs and braces.
        pattern: glob over paths below ``uri``.
        image: extension of the image's member in shards, null for any image's; the image's column in Parquet files,
            null for ``image``.
        key: column of Parquet files that names a sample; null names it by file and row.
    """

    format: str = "images"
    uri: str = "photos/"
    pattern: str = "**/*"
    image: str | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        _choose("source.format", self.format, SOURCE_FORMATS)
        uri, pattern = self.uri, self.pattern
        if self.format != "images":
            folder, slash, name = uri.rpartition("/")
            if SHARD_NAME.match(name):
                uri, pattern = f"{folder}{slash}" or ".", name
        object.__setattr__(self, "uri", absolute_uri(uri))
        object.__setattr__(self, "pattern", pattern)


@dataclass(frozen=True)
class MaskConfig:
    """Where the masks are and how they are read; at or above the threshold, and not zero, means repaint.

    Args:
        kind: ``paired`` (a mask file for each image), ``static`` (one mask for all), ``member`` (of a tar shard, beside
            the image), ``column`` (of a Parquet file), ``alpha`` (what the image's own alpha channel makes
            transparent), ``boxes`` (JSON lines, or a column), ``coco`` (annotations) or ``text`` (overlaid text, found
            in the pixels).
        uri: folder of the masks, or the one file of mask or annotations; without meaning for ``alpha`` and ``text``.
        template: name of an image's mask below ``uri``, with ``{path}``, ``{dir}``, ``{stem}`` and ``{ext}`` of the
            image; null tries the same path, then the same stem with any image extension.
        member: extension of the mask's member in a tar shard: ``7.mask.png`` is the mask of ``7.jpg``.
        column: of masks, or of boxes, in Parquet files.
        threshold: of full scale, 0 … 1.
        resize: scale a mask of another size than its image, which is an error otherwise.
        anchor: put a mask of another size, unscaled, into that corner, such as ``bottom-right``.
        box_format: ``xyxy`` (left, top, right, bottom) or ``xywh`` (left, top, width, height).
        box_units: ``pixel``, or ``relative`` to width and height of the image.
        categories: names or ids of a COCO file; an empty list means all.
        text_score: how sure the detector must be of a line of text, 0 … 1.
        invert: repaint what the mask leaves out.
        close_px: fill gaps and notches up to twice that wide.
        dilate_px: grow the hole by that many pixels on every side.
        min_fraction, max_fraction: a mask that covers less (but not nothing), or more of its image fails the sample.
    """

    kind: str = "paired"
    uri: str = "masks/"
    template: str | None = None
    member: str = "mask.png"
    column: str | None = None
    threshold: float = 0.5
    resize: bool = False
    anchor: str | None = None
    box_format: str = "xyxy"
    box_units: str = "pixel"
    categories: list[Any] = field(default_factory=list)
    text_score: float = 0.6
    invert: bool = False
    close_px: int = 0
    dilate_px: int = 0
    min_fraction: float = 0.0
    max_fraction: float = 0.9

    def __post_init__(self) -> None:
        object.__setattr__(self, "uri", absolute_uri(self.uri))
        _choose("mask.kind", self.kind, MASK_KINDS)
        for key in ("threshold", "text_score"):
            if not 0 <= getattr(self, key) <= 1:
                raise ConfigError(f"mask.{key} must be in 0 … 1, got {getattr(self, key)}")
        for key in ("dilate_px", "close_px"):
            if getattr(self, key) < 0:
                raise ConfigError(f"mask.{key} must not be negative, got {getattr(self, key)}")
        _choose("mask.anchor", self.anchor or ANCHORS[0], ANCHORS)
        _choose("mask.box_format", self.box_format, ("xyxy", "xywh"))
        _choose("mask.box_units", self.box_units, ("pixel", "relative"))
        if self.anchor and self.resize:
            raise ConfigError("mask.anchor and mask.resize exclude each other: a mask is moved or scaled")
        if not 0 < self.max_fraction <= 1:
            raise ConfigError(f"mask.max_fraction must be above 0 and at most 1, got {self.max_fraction}")
        if not 0 <= self.min_fraction <= self.max_fraction:
            raise ConfigError(f"mask.min_fraction must be in 0 … mask.max_fraction, got {self.min_fraction}")
        if self.template is not None:
            try:
                self.template.format(path="a/b.c", dir="a/", stem="b", ext=".c")
            except (KeyError, IndexError, ValueError) as error:
                raise ConfigError(f"mask.template knows {{path}}, {{dir}}, {{stem}}, {{ext}}: {error!r}") from error


@dataclass(frozen=True)
class ModelConfig:
    """Which model, and how it samples."""

    weights: str = "nano"
    steps: int = 20
    guidance: float = 2.0
    strength: float = 0.99
    seed: int = 0
    precision: str = "auto"
    batch_size: int | str = "auto"

    def __post_init__(self) -> None:
        if self.weights not in ("nano", *HUB_WEIGHTS):
            object.__setattr__(self, "weights", absolute_uri(self.weights))


@dataclass(frozen=True)
class WindowConfig:
    """How windows are cut around holes."""

    context: float = 1.5
    max_upscale: float = 1.0


@dataclass(frozen=True)
class SinkConfig:
    """Where results go, and how.

    Args:
        uri: folder or prefix.
        format: ``images`` (a file each), ``webdataset`` (tar shards) or ``parquet``.
        image_format: ``source`` keeps each image's own format; ``png`` and ``webp`` are lossless, ``jpeg`` is not.
        carry: columns of a Parquet source, or extensions of members of its shards, that go with the results.
        shard_samples, shard_bytes: bounds of a shard; the last result may exceed the bytes.
    """

    uri: str = "out/"
    format: str = "images"
    image_format: str = "source"
    carry: list[str] = field(default_factory=list)
    shard_samples: int = 1000
    shard_bytes: int = 256 << 20

    def __post_init__(self) -> None:
        object.__setattr__(self, "uri", absolute_uri(self.uri))
        _choose("sink.format", self.format, SINK_FORMATS)
        _choose("sink.image_format", self.image_format, IMAGE_FORMATS)
        for key in ("shard_samples", "shard_bytes"):
            if getattr(self, key) < 1:
                raise ConfigError(f"sink.{key} must be positive, got {getattr(self, key)}")
        if self.shard_bytes > MOST_SHARD_BYTES:
            raise ConfigError(f"sink.shard_bytes must be at most {MOST_SHARD_BYTES}, got {self.shard_bytes}")

    @property
    def is_sharded(self) -> bool:
        """Whether many results share a file."""
        return self.format != "images"


@dataclass(frozen=True)
class RunConfig:
    """How the job runs.

    Args:
        actors: workers that hold the model, or ``auto``: one a GPU, without GPUs one for four CPU cores.
        gpus_per_actor: GPUs a worker takes, a fraction shares one; ``auto``: 1 where the cluster has GPUs.
        decode: ``workers``: where the model is, in threads beside it; ``tasks``: on any node of the cluster, for nodes
            with too few CPU cores for their GPUs. It costs a second decoding and the transport of the windows.
        address: of the Ray cluster; null means ``RAY_ADDRESS``, else a cluster of this job's own on this machine.
        resume: go on with what the sink already holds; false refuses a sink with results.
        retry_failed: do failed samples again: true for all, or their error types, such as ``MissingMask,FileNotFound``.
        redo_changed: do again what was made with other weights or settings.
    """

    actors: int | str = "auto"
    gpus_per_actor: float | str = "auto"
    decode: str = "workers"
    address: str | None = None
    resume: bool = True
    retry_failed: bool | str = False
    redo_changed: bool = False

    def __post_init__(self) -> None:
        if self.actors != "auto" and (not isinstance(self.actors, int) or self.actors < 1):
            raise ConfigError(f"run.actors must be auto or a positive number, got {self.actors!r}")
        if self.gpus_per_actor != "auto" and (isinstance(self.gpus_per_actor, str) or self.gpus_per_actor < 0):
            raise ConfigError(f"run.gpus_per_actor must be auto or a number, got {self.gpus_per_actor!r}")
        _choose("run.decode", self.decode, ("workers", "tasks"))

    @property
    def retried_types(self) -> list[str]:
        """Error types whose samples are to be done again, where they are named."""
        return [] if isinstance(self.retry_failed, bool) else re.split(r"[,\s]+", self.retry_failed)


@dataclass(frozen=True)
class LimitsConfig:
    """What is refused, and how much may fail."""

    max_pixels: int = 200_000_000
    max_bytes: int = 500_000_000
    max_failed_fraction: float = 0.05

    def __post_init__(self) -> None:
        for key in ("max_pixels", "max_bytes"):
            if getattr(self, key) < 1:
                raise ConfigError(f"limits.{key} must be positive, got {getattr(self, key)}")
        if not 0 <= self.max_failed_fraction <= 1:
            raise ConfigError(f"limits.max_failed_fraction must be in 0 … 1, got {self.max_failed_fraction}")


@dataclass(frozen=True)
class JobConfig:
    """One inpainting job."""

    source: SourceConfig = field(default_factory=SourceConfig)
    mask: MaskConfig = field(default_factory=MaskConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    window: WindowConfig = field(default_factory=WindowConfig)
    sink: SinkConfig = field(default_factory=SinkConfig)
    run: RunConfig = field(default_factory=RunConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    storage: dict[str, Any] = field(default_factory=dict, repr=False)  # may hold secrets

    def __post_init__(self) -> None:
        try:
            _ = self.inpaint_settings
        except ValueError as error:
            raise ConfigError(f"model or window: {error}") from error
        if self.mask.kind == "member" and self.source.format != "webdataset":
            raise ConfigError(f"mask.kind=member needs source.format=webdataset, not {self.source.format}")
        if self.mask.kind == "column" and not self.mask.column:
            raise ConfigError("mask.kind=column needs mask.column, the name of the column of masks")
        if self.mask.column and self.mask.kind not in ("column", "boxes"):
            raise ConfigError(f"mask.column has no meaning for mask.kind={self.mask.kind}")
        if self.mask.column and self.source.format != "parquet":
            raise ConfigError(f"mask.column needs source.format=parquet, not {self.source.format}")
        if self.sink.carry and (self.source.format == "images" or not self.sink.is_sharded):
            raise ConfigError("sink.carry takes columns or members to a sink of shards, from a source that has them")
        if self.sink.is_sharded and self.run.decode == "tasks":
            raise ConfigError("run.decode=tasks needs sink.format=images; shards are written where the model is")

    @property
    def inpaint_settings(self) -> InpaintSettings:
        """What the model is run with."""
        model, window = self.model, self.window
        return InpaintSettings(
            steps=model.steps,
            guidance=model.guidance,
            strength=model.strength,
            precision=model.precision,
            batch_size=model.batch_size,
            context=window.context,
            max_upscale=window.max_upscale,
        )

    @cached_property
    def fingerprint(self) -> str:
        """Identity of everything but the weights that decides a result; places, limits and scheduling do not."""
        deciding = {
            "mask": {key: value for key, value in asdict(self.mask).items() if key not in _MASK_PLACES},
            "model": {key: value for key, value in asdict(self.model).items() if key not in ("weights", "batch_size")},
            "window": asdict(self.window),
            "image_format": self.sink.image_format,
            "sink": (self.sink.format, self.sink.carry),
        }
        return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:16]
