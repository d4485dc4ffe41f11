"""Names of classes by their number, as YOLO keeps them in a file of their own."""

from collections.abc import Mapping
from typing import Any

import yaml

from pipeline.errors import ConfigError
from pipeline.storage.storage import Storage

MAX_CLASSES = 100_000
YAML_SUFFIXES = (".yaml", ".yml")


def read_class_names(uri: str, options: Mapping[str, Any]) -> list[str]:
    """Read the names of classes: lines of text, such as ``classes.txt``, or ``names`` of a ``data.yaml``.

    Args:
        uri: of the file.
        options: of the storage.

    Raises:
        ConfigError: no such file, or no names in it.
    """
    storage = Storage(uri, options)
    try:
        text = storage.read().decode("utf-8-sig")
        return _of_yaml(text) if uri.lower().endswith(YAML_SUFFIXES) else text.splitlines()
    except FileNotFoundError as error:
        raise ConfigError(f"mask.class_names: nothing at {storage}") from error
    except (UnicodeDecodeError, yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"mask.class_names: {storage} has no names of classes: {' '.join(str(error).split())}"
        ) from error


def _of_yaml(text: str) -> list[str]:
    names = yaml.safe_load(text)["names"]
    if isinstance(names, Mapping):
        if max(names) >= MAX_CLASSES:
            raise ValueError(f"a class has the number {max(names)}, at most {MAX_CLASSES} are taken")
        names = [names.get(number, "") for number in range(max(names) + 1)]
    if not isinstance(names, list):
        raise TypeError(f"names must be a list, or have a number for each name, got {names!r:.60}")
    return [str(name) for name in names]
