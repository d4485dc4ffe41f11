"""The part of the configuration that finders and readers of a source use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config.job import JobConfig
from pipeline.config.rules import MaskPlace
from pipeline.config.source import SourceConfig


@dataclass(frozen=True)
class Wanted:
    """The settings that finders and readers of a source format need.

    Args:
        source: uri, pattern, image and key.
        mask: where masks lie.
        mask_may_miss: whether a sample without a mask has nothing to fill.
        carried: columns or members to carry to the sink.
        carried_as_json: whether the sink stores them as JSON.
        max_bytes: of a compressed image with its mask.
        storage_options: of the job.
    """

    source: SourceConfig
    mask: MaskPlace
    mask_may_miss: bool
    carried: Sequence[str]
    carried_as_json: bool
    max_bytes: int
    storage_options: Mapping[str, Any]


def wanted_by(config: JobConfig) -> Wanted:
    """Return what a job reads of its source."""
    return Wanted(
        config.source,
        config.mask.rules.place,
        config.mask.missing == "empty",
        config.sink.carry,
        config.sink.rules.carries_json,
        config.limits.max_bytes,
        config.storage,
    )
