"""The keys of a configuration that decide results, which its fingerprint covers."""

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from pipeline.config.mask import MaskConfig
from pipeline.config.model import ModelConfig, WindowConfig

_LATER_KEYS = (
    *("guidance_interval", "sampler", "noise_offset", "latent_mask", "start", "refine", "candidates"),
    *("member", "column", "channel", "upright", "columns", "where", "labels", "class_names"),
    *("model", "model_sha256", "output", "classes", "score", "input", "tile_px", "device", "function", "version"),
    *("letters", "offset", "size", "repeat", "find", "max_opacity", "missing"),
)
_OF_SAMPLES = ("missing",)  # decides which samples have a mask, as their versions say
SCHEDULING = ("weights", "batch_size")  # weights have a fingerprint of their own


def deciding_of_mask(mask: MaskConfig) -> dict[str, Any]:
    """Return the keys of a mask that decide a result; whether it may be missing is told by the version of a sample."""
    return deciding(mask, (*indifferent(mask), "also"))


def indifferent(mask: MaskConfig) -> list[str]:
    """Return the keys of a mask that decide nothing about results."""
    return [*mask.rules.indifferent, *(key for key in _OF_SAMPLES if key not in mask.rules.own_keys)]


def deciding(section: ModelConfig | MaskConfig | WindowConfig, others: Collection[str]) -> dict[str, Any]:
    """Return the keys of a section that decide results, with their values, except for ``others``.

    Keys that came later are left out at their defaults, so that sinks from before keep their fingerprint.
    """
    usual, kept = asdict(type(section)()), asdict(section)
    return {
        key: value
        for key, value in kept.items()
        if key not in others and (key not in _LATER_KEYS or value != usual[key])
    }
