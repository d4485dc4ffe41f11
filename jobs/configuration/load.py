"""Loads configurations from YAML files and ``key=value`` overrides; only this and ``layers.py`` use OmegaConf."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from itertools import groupby
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from jobs.configuration.layers import Layer, read_layers
from jobs.configuration.mask_parts import with_one_mask
from jobs.configuration.storage_options import SWITCHES
from pipeline.config.job import JobConfig
from pipeline.errors import ConfigError
from pipeline.training.config import TrainingConfig

Schema = TypeVar("Schema")
_SCALAR = re.compile(r"true|false|[-+]?(\d+\.?\d*|\.\d+)", re.IGNORECASE)  # of YAML
_KEY = re.compile(r"[a-z_]+(\.[a-z_]+)?")


@dataclass(frozen=True)
class Loaded(Generic[Schema]):
    """A configuration and the origins of its values.

    Args:
        config: the configuration.
        origins: for each key that is set, its file and line or ``override``, and the environment variables it uses.
    """

    config: Schema
    origins: Mapping[str, str]


def load_config(path: str, overrides: Sequence[str]) -> JobConfig:
    """Read the configuration of an inpainting job; keys that neither files nor overrides set have their defaults.

    Raises:
        ConfigError: a missing file, an unknown key, a wrong type or a value out of range; names file and key.
    """
    return load_with_origins(path, overrides).config


def load_with_origins(path: str, overrides: Sequence[str]) -> Loaded[JobConfig]:
    """Read like :func:`load_config`, and return the origin of each value too."""
    loaded = _load(path, overrides, JobConfig)
    config = loaded.config
    if not isinstance(config.mask.class_names, str):
        return loaded
    from pipeline.masks.label_files.names import read_class_names

    mask = replace(config.mask, class_names=read_class_names(config.mask.class_names, config.storage))
    return replace(loaded, config=replace(config, mask=mask))


def load_training_config(path: str, overrides: Sequence[str]) -> TrainingConfig:
    """Read the configuration of a training run; raises like :func:`load_config`."""
    return _load(path, overrides, TrainingConfig).config


def _load(path: str, overrides: Sequence[str], schema: type[Schema]) -> Loaded[Schema]:
    layers = [*read_layers(path), _from_overrides(overrides, schema)]
    if schema is JobConfig:
        layers = with_one_mask(layers)
    merged = OmegaConf.structured(schema)
    for layer in layers:
        _check_kinds(layer, schema)
        try:
            merged = OmegaConf.merge(merged, layer.values)
        except OmegaConfBaseException as error:
            raise layer.fault(getattr(error, "full_key", None), _reason(error)) from error
    origins = {key: origin for layer in layers for key, origin in layer.origins()}
    try:
        config = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise _placed(f"{getattr(error, 'full_key', None) or path}: {_reason(error)}", origins) from error
    except ConfigError as error:
        raise _placed(str(error), origins) from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: not a configuration: {error}") from error
    assert isinstance(config, schema)
    return Loaded(config, origins)


def _check_kinds(layer: Layer, schema: type) -> None:
    """Reject values that OmegaConf would convert silently, or reject without naming the key."""
    sections = get_type_hints(schema)
    for section, value in layer.plain().items():
        kind = _section_type(sections.get(section))
        if isinstance(value, dict):
            hints = get_type_hints(kind) if is_dataclass(kind) else {}
            for key, one in value.items():
                _check_kind(layer, f"{section}.{key}", hints.get(key), one)
        elif (is_dataclass(kind) or get_origin(kind) is dict) and value is not None and "${" not in str(value):
            raise layer.fault(section, "takes keys with values, not one value or a list")
        else:
            _check_kind(layer, section, kind, value)


def _section_type(hint: Any) -> Any:
    """Return the dataclass of a section that may be null, and any other type as it is."""
    return next((kind for kind in get_args(hint) if is_dataclass(kind)), hint)


def _check_kind(layer: Layer, key: str, kind: Any, value: Any) -> None:
    if kind is bool and isinstance(value, int | float) and value not in (0, 1):
        raise layer.fault(key, f"must be true or false, got {value}")
    if get_origin(kind) in (list, tuple) and isinstance(value, dict):
        raise layer.fault(key, f"must be a list, got {value}")


def _reason(error: OmegaConfBaseException) -> str:
    return str(getattr(error, "msg", None) or error).splitlines()[0]


def _placed(message: str, origins: Mapping[str, str]) -> ConfigError:
    """Prefix a message that begins with a key with the file and line of that key."""
    key = _KEY.match(message)
    origin = origins.get(key[0], "override") if key else "override"
    return ConfigError(message if origin.startswith("override") else f"{origin}: {message}")


def _from_overrides(overrides: Sequence[str], schema: type) -> Layer:
    pairs = [_as_text(override, schema) for override in overrides]
    _check_braces(overrides)
    try:
        return Layer("", OmegaConf.from_dotlist(pairs))
    except (OmegaConfBaseException, YAMLError, ValueError) as error:  # the values may be secrets
        keys = ", ".join(pair.partition("=")[0] for pair in pairs)
        raise ConfigError(f"overrides {keys}: not a configuration: {type(error).__name__}") from error


def _check_braces(overrides: Sequence[str]) -> None:
    """Reject braces that the shell expanded into one override per shard, of which only the last would count."""
    for key, equal in groupby(overrides, key=lambda override: override.partition("=")[0]):
        if key == "source.uri" and (count := len(set(equal))) > 1:
            raise ConfigError(
                f"source.uri is given {count} times in a row: quote its braces, 'source.uri=x-{{000..099}}.tar'"
            )


def _as_text(override: str, schema: type) -> str:
    """Quote the value of an override if its key holds text; leave it as YAML otherwise."""
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"overrides are key=value, got {override!r}")
    is_text = (
        _holds_text(key, schema, value)
        and value != "null"
        and not (key.startswith("storage.") and value.lower() in SWITCHES)
    )
    return f"{key}={json.dumps(value, ensure_ascii=False)}" if is_text else override


def _holds_text(key: str, schema: type, value: str) -> bool:
    section, *rest = key.split(".")
    if rest and rest[0].isdigit():  # of a list of sections
        del rest[0]
    if section == "storage":  # a secret of digits must stay text; nested options are YAML
        return len(rest) == 1
    expected = _section_type(get_type_hints(schema).get(section))
    if rest:
        expected = get_type_hints(expected or object).get(".".join(rest))
    if expected is Any:  # text, or what its first characters or the whole of it show to be something else
        return section == "run" or not (value.startswith(("[", "{")) or _SCALAR.fullmatch(value))
    return expected is str or set(get_args(expected)) == {str, type(None)}
