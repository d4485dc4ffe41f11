"""Generates ``docs/reference/configuration.md`` from the configuration dataclasses: names, types, defaults, meaning."""

import inspect
import re
from dataclasses import MISSING, Field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from pipeline.config.job import JobConfig
from pipeline.training.config import TrainingConfig

_TYPES = {str: "text", int: "integer", float: "number", bool: "true or false", NoneType: "null", Any: "any"}
_ENTRY = re.compile(r"^(\w+(?:, \w+)*): ", re.MULTILINE)
_ROLE = re.compile(r":\w+:(?=`)")  # of reStructuredText

_HEAD = """# Configuration

This page is made from the code by `moebius config --reference > docs/reference/configuration.md`.

A job reads one YAML file and then its `key=value` overrides. Keys that neither sets have the defaults below; an unknown
key, a wrong type or a value out of range ends the command with exit code 2 and a message that names file, line and key.
[`conf/inpaint.yaml`](../../conf/inpaint.yaml) states every key of a job; `moebius init` writes a copy of it.

A file may build on others: `base: inpaint.yaml`, or `base: [cluster.yaml, reprocess.yaml]`. Later files override
earlier ones, and the file itself overrides them all. Their names are relative to the file; all other local paths are
relative to the working directory. A value may come from the environment:
`uri: ${oc.env:PHOTOS}`, or `${oc.env:PHOTOS,photos/}` with a default. `moebius config FILE [key=value …]` prints
the result with the origin of each value; it reads configurations of inpainting jobs, not of training.

| profile | for |
|---|---|
| [`conf/inpaint.yaml`](../../conf/inpaint.yaml) | every key with its default |
| [`conf/laptop.yaml`](../../conf/laptop.yaml) | a machine without a GPU that stays usable |
| [`conf/one_gpu.yaml`](../../conf/one_gpu.yaml) | one GPU, and an error where there is none |
| [`conf/cluster.yaml`](../../conf/cluster.yaml) | a running Ray cluster and object storage |
| [`conf/reprocess.yaml`](../../conf/reprocess.yaml) | some finished samples again, chosen by their rows |
| [`conf/demo.yaml`](../../conf/demo.yaml) | `make demo` |
"""


def reference_page() -> str:
    """Return the page as Markdown."""
    parts = [_HEAD]
    for section, of_type in get_type_hints(JobConfig).items():
        if isinstance(of_type, type) and is_dataclass(of_type):
            parts.append(_table(f"## `{section}`", of_type, f"{section}."))
    parts.append(f"## `storage`\n\n{_meanings(JobConfig)['storage']}\n")
    parts.append(_table("## Training: `moebius distill`", TrainingConfig, ""))
    return "\n".join(parts)


def _table(title: str, config: type, prefix: str) -> str:
    meanings = _meanings(config)
    types = get_type_hints(config)
    lines = [title, "", "| key | type | default | meaning |", "|---|---|---|---|"]
    for field in fields(config):
        cells = f"`{prefix}{field.name}`", _type_name(types[field.name]), _default(field), meanings[field.name]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _meanings(config: type) -> dict[str, str]:
    """Return the description of each field from the docstrings of a dataclass and its bases."""
    found: dict[str, str] = {}
    for one in reversed([each for each in config.__mro__ if is_dataclass(each)]):
        arguments = inspect.cleandoc(one.__doc__ or "").partition("\nArgs:\n")[2].partition("\n\n")[0]
        pieces = _ENTRY.split(inspect.cleandoc(arguments))[1:]
        for names, text in zip(pieces[::2], pieces[1::2], strict=True):
            found |= dict.fromkeys(names.split(", "), _ROLE.sub("", " ".join(text.split()).replace("``", "`")))
    return found


def _type_name(of_type: Any) -> str:
    if isinstance(of_type, UnionType):
        return " or ".join(map(_type_name, get_args(of_type)))
    if get_origin(of_type) in (list, tuple):
        return "list"
    if get_origin(of_type) is dict:
        return "keys with values"
    return "keys with values" if is_dataclass(of_type) else _TYPES[of_type]


def _default(field: Field) -> str:
    value = field.default_factory() if field.default is MISSING and field.default_factory is not MISSING else None
    value = field.default if field.default is not MISSING else value
    value = list(value) if isinstance(value, tuple) else value
    return f"`{one_line(value)}`"


def one_line(value: Any) -> str:
    """Format a value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=1 << 20, allow_unicode=True)
    return text.removesuffix("...\n").strip()
