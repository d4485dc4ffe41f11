"""A list of masks in a configuration: ``mask: [{kind: paired}, {kind: text}]``; overrides are ``mask.0.kind=…``."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from jobs.configuration.layers import Layer
from pipeline.config.mask import MaskConfig

KEY = "mask"


def with_one_mask(layers: Sequence[Layer]) -> list[Layer]:
    """Replace a list of masks by the section of the one that has files, which lists the others as ``also``.

    Raises:
        ConfigError: a list that is empty or holds something else, or keys that address no mask of it.
    """
    parts: list[dict[str, Any]] | None = None
    last = None
    for layer in layers:
        value = layer.plain().get(KEY)
        if isinstance(value, list):
            parts, last = _checked(layer, value), layer
        elif isinstance(value, dict) and value and all(str(key).isdigit() for key in value):
            parts, last = _changed(layer, value, parts), layer
        elif isinstance(value, dict) and value and parts is not None:
            key = f"{KEY}.{next(iter(value))}"
            raise layer.fault(key, f"mask is a list here: say which one is meant, such as {KEY}.0.{next(iter(value))}")
    if parts is None or last is None:
        return list(layers)
    typed = [_typed(last, parts, number) for number in range(len(parts))]
    first = next((number for number, config in enumerate(typed) if _has_files(config)), 0)
    parts = [{key: getattr(config, key) for key in part} for config, part in zip(typed, parts, strict=True)]
    section = {**parts[first], "also": [part for number, part in enumerate(parts) if number != first]}
    # Keys of a section that the list replaces, such as those of a base, do not count.
    return [*map(_without, layers), replace(last, values=OmegaConf.create({KEY: section}))]


def _checked(layer: Layer, value: list[Any]) -> list[dict[str, Any]]:
    if not value or not all(isinstance(part, dict) for part in value):
        raise layer.fault(KEY, "must be a section or a list of sections, each with its own kind")
    known = set(MaskConfig.__dataclass_fields__) - {"also"}
    for number, part in enumerate(value):
        if unknown := [str(key) for key in part if key not in known]:
            raise layer.fault(f"{KEY}.{number}.{unknown[0]}", "no such key")
    return [dict(part) for part in value]


def _changed(layer: Layer, value: dict[Any, Any], parts: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    changed = [dict(part) for part in parts or []]
    for key, part in sorted(value.items(), key=lambda item: int(item[0])):
        number = int(key)
        if number > len(changed) or not isinstance(part, dict):
            raise layer.fault(f"{KEY}.{key}", f"there are {len(changed)} masks in the list, counted from 0")
        if number == len(changed):
            changed.append({})
        changed[number] |= part
    return _checked(layer, changed)


def _without(layer: Layer) -> Layer:
    values = layer.plain()
    values.pop(KEY, None)
    return replace(layer, values=OmegaConf.create(values))


def _typed(layer: Layer, parts: Sequence[dict[str, Any]], number: int) -> MaskConfig:
    """Return one mask of the list, with values of the types of its keys."""
    try:
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(MaskConfig), parts[number]))
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        raise layer.fault(f"{KEY}.{number}.{key}", str(error).splitlines()[0]) from error
    assert isinstance(config, MaskConfig)
    return config


def _has_files(config: MaskConfig) -> bool:
    place = config.rules.place
    return place.is_outside or place.is_beside_image
