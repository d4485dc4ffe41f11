"""Reads configuration files and their bases, one layer each, with the line of each key."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.errors import ConfigError

BASE = "base"  # key that names the files on which a file builds
_ENVIRONMENT = re.compile(r"\$\{oc\.env:\s*(\w+)")


@dataclass(frozen=True)
class Layer:
    """The values of one configuration file, or of the overrides of a command.

    Args:
        name: name of the file as given; empty for overrides.
        values: values by section and key.
        lines: line of each key, such as ``model.steps``; empty for overrides.
    """

    name: str
    values: DictConfig
    lines: Mapping[str, int] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Return the values as written, with references to the environment unresolved."""
        return _plain(self.values)

    def location(self, key: str) -> str:
        """Return the file and line of a key, or ``override``."""
        if not self.name:
            return "override"
        line = self.lines.get(key)
        return f"{self.name}:{line}" if line else self.name

    def origins(self) -> Iterator[tuple[str, str]]:
        """Yield each key that is set here, without sections, and the origin of its value."""
        for section, value in self.plain().items():
            keyed = {f"{section}.{key}": one for key, one in value.items()} if isinstance(value, dict) else {}
            for key, one in keyed.items() if isinstance(value, dict) else [(section, value)]:
                variables = dict.fromkeys(_ENVIRONMENT.findall(str(one)))
                yield key, ", ".join([self.location(key), *(f"environment {name}" for name in variables)])

    def fault(self, key: str | None, reason: str) -> ConfigError:
        """Return the error for a wrong key of this layer."""
        names = [self.location(key or "")] if self.name else []
        return ConfigError(": ".join([*names, *filter(None, [key]), reason]))


def read_layers(path: str) -> list[Layer]:
    """Read a configuration file and, before it, the files of its ``base``: one or a list, relative to the file.

    Raises:
        ConfigError: a file is missing, is not YAML, or is its own base.
    """
    return _read(Path(path), path, (), f"no configuration file {path}")


def _read(path: Path, name: str, above: tuple[Path, ...], absent: str) -> list[Layer]:
    if not path.is_file():
        raise ConfigError(absent)
    if path.resolve() in above:
        raise ConfigError(f"{name}: base: the file is its own base, through {above[-1].name}")
    layer, bases = _parse(path, name)
    layers: list[Layer] = []
    for base in bases:
        base_path = path.parent / base
        absent = f"{layer.location(BASE)}: base: no configuration file {base_path}"
        layers += _read(base_path, str(base_path), (*above, path.resolve()), absent)
    return [*layers, layer]


def _parse(path: Path, name: str) -> tuple[Layer, list[str]]:
    """Return the values of a file and the names of its bases."""
    try:
        values = OmegaConf.load(path)
        lines = dict(_lines(yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader), ""))
    except (OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError, ValueError, OSError) as error:
        raise ConfigError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, DictConfig):
        raise ConfigError(f"{name}: a configuration must have sections with keys, but this file is a list")
    bases = _plain(values).get(BASE, [])
    bases = [bases] if isinstance(bases, str) else bases
    layer = Layer(name, values, lines)
    if not isinstance(bases, list) or not all(isinstance(base, str) and base for base in bases):
        raise layer.fault(BASE, f"must be the name of a file or a list of names, got {bases!r}")
    values.pop(BASE, None)
    return layer, bases


def _plain(values: DictConfig) -> dict[str, Any]:
    """Return values as written, with references to the environment unresolved."""
    plain = OmegaConf.to_container(values, resolve=False)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _lines(node: yaml.Node | None, prefix: str) -> Iterator[tuple[str, int]]:
    """Yield the keys of a mapping, at any depth, with their lines, counted from 1."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        full = f"{prefix}{key.value}"
        yield full, key.start_mark.line + 1
        yield from _lines(value, f"{full}.")
