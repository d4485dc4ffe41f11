"""YAML files and ``key=value`` overrides become a ``JobConfig``; the only user of OmegaConf."""

import json
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from pipeline.config import JobConfig
from pipeline.errors import ConfigError


def load_config(path: str, overrides: Sequence[str]) -> JobConfig:
    """Read a configuration; what neither file nor overrides say has its default.

    Raises:
        ConfigError: no such file, an unknown key, a wrong type or a value out of range; the message names the key.
    """
    if not Path(path).is_file():
        raise ConfigError(f"no configuration file {path}")
    try:
        dotlist = OmegaConf.from_dotlist([_quoted(override) for override in overrides])
        merged = OmegaConf.merge(OmegaConf.structured(JobConfig), OmegaConf.load(path), dotlist)
        config = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        reason = str(getattr(error, "msg", None) or error).splitlines()[0]
        raise ConfigError(f"{key or path}: {reason}") from error
    except YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    assert isinstance(config, JobConfig)
    return config


def _quoted(override: str) -> str:
    """An override whose braces are text (``mask.template={stem}.png``), where YAML would see a mapping."""
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"overrides are key=value, got {override!r}")
    return f"{key}={json.dumps(value)}" if key.endswith(".template") else override
