"""Refuses repositories of pipelines that hold or name code of their own, whatever the installed diffusers would do."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import diffusers

LIBRARIES = ("diffusers", "transformers")
CONFIGS = ("config.json", "*_config.json")
MAX_CONFIG_BYTES = 10_000_000


def check_index(index: Mapping[str, Any]) -> None:
    """Check that all classes that ``model_index.json`` names belong to diffusers or transformers.

    Args:
        index: its content: ``_class_name``, and ``[library, class]`` by the name of each component.

    Raises:
        ValueError: it names a class of the repository or of another package.
    """
    if not isinstance(index.get("_class_name"), str):
        raise ValueError(f"_class_name must be the name of a class of diffusers, got {index.get('_class_name')!r}")
    for component, value in index.items():
        if isinstance(value, list) and value[:1] != [None] and not _is_known(value):
            raise ValueError(f"{component} must be a class of {' or '.join(LIBRARIES)}, got {value!r}")


def check_files(folder: Path) -> None:
    """Check that a folder holds no Python file, and that no configuration in it names code.

    Args:
        folder: with ``model_index.json`` and a folder for each component.

    Raises:
        ValueError: it does, or a configuration cannot be read.
    """
    for path in _find(folder, "*"):
        if path.suffix.lower() == ".py":
            raise ValueError(f"it holds code, {path.relative_to(folder)}, which is never run; use a copy without it")
    for pattern in CONFIGS:
        for path in _find(folder, pattern):
            if "auto_map" in _read(path):
                raise ValueError(
                    f"{path.relative_to(folder)} names code of a repository, auto_map; use a copy without that key"
                )


def _is_known(value: list[Any]) -> bool:
    """Return whether a class is of a known library, or of a package of diffusers.pipelines, as in old indices."""
    if len(value) != 2 or not all(isinstance(part, str) and part.isidentifier() for part in value):
        return False
    pipelines = Path(diffusers.__file__).parent / "pipelines"
    return value[0] in LIBRARIES or (pipelines / value[0] / "__init__.py").is_file()


def _find(folder: Path, pattern: str) -> Iterator[Path]:
    """Find files below a folder, and below folders that links in it lead to."""
    yield from folder.rglob(pattern)
    for path in folder.iterdir():
        if path.is_symlink() and path.is_dir():
            yield from path.rglob(pattern)


def _read(path: Path) -> Mapping[str, Any]:
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise ValueError(f"{path.name} has more than {MAX_CONFIG_BYTES} bytes")
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} must hold a JSON object")
    return content
