"""YAML files and ``key=value`` overrides become configurations of jobs; the only user of OmegaConf."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, get_args, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from pipeline.config import JobConfig
from pipeline.errors import ConfigError
from pipeline.training import TrainingConfig

Schema = TypeVar("Schema")


def load_config(path: str, overrides: Sequence[str]) -> JobConfig:
    """Read the configuration of an inpainting job; what neither file nor overrides say has its default.

    Raises:
        ConfigError: no such file, an unknown key, a wrong type or a value out of range; the message names the key.
    """
    return _load(path, overrides, JobConfig)


def load_training_config(path: str, overrides: Sequence[str]) -> TrainingConfig:
    """Read the configuration of a training run; raises as :func:`load_config` does."""
    return _load(path, overrides, TrainingConfig)


def _load(path: str, overrides: Sequence[str], schema: type[Schema]) -> Schema:
    if not Path(path).is_file():
        raise ConfigError(f"no configuration file {path}")
    try:
        merged = OmegaConf.merge(
            OmegaConf.structured(schema),
            OmegaConf.load(path),
            OmegaConf.from_dotlist([_as_text(override, schema) for override in overrides]),
        )
        config = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        reason = str(getattr(error, "msg", None) or error).splitlines()[0]
        raise ConfigError(f"{key or path}: {reason}") from error
    except ConfigError:
        raise
    except (YAMLError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} {' '.join(overrides)}: not a configuration: {error}") from error
    assert isinstance(config, schema)
    return config


def _as_text(override: str, schema: type) -> str:
    """An override whose value is taken as it stands where its key holds text, and as YAML elsewhere."""
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"overrides are key=value, got {override!r}")
    is_text = _holds_text(key, schema) and value != "null"
    return f"{key}={json.dumps(value, ensure_ascii=False)}" if is_text else override


def _holds_text(key: str, schema: type) -> bool:
    section, *rest = key.split(".")
    if section == "storage" and rest:  # mostly text, and a secret of digits is no number; numbers belong into the file
        return True
    expected = get_type_hints(schema).get(section)
    if rest:
        expected = get_type_hints(expected or object).get(".".join(rest))
    return expected is str or (set(get_args(expected)) == {str, type(None)})
