"""YAML files and ``key=value`` overrides become a ``JobConfig``; the only user of OmegaConf."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import get_args, get_type_hints

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
        merged = OmegaConf.merge(
            OmegaConf.structured(JobConfig),
            OmegaConf.load(path),
            OmegaConf.from_dotlist([_as_text(override) for override in overrides]),
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
    assert isinstance(config, JobConfig)
    return config


def _as_text(override: str) -> str:
    """An override whose value is taken as it stands where its key holds text, and as YAML elsewhere."""
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"overrides are key=value, got {override!r}")
    is_text = _holds_text(key) and value != "null"
    return f"{key}={json.dumps(value, ensure_ascii=False)}" if is_text else override


def _holds_text(key: str) -> bool:
    section, *rest = key.split(".")
    if section == "storage" and rest:  # mostly text, and a secret of digits is no number; numbers belong into the file
        return True
    types = get_type_hints(get_type_hints(JobConfig).get(section, object))
    expected = types.get(".".join(rest))
    return expected is str or (set(get_args(expected)) == {str, type(None)})
