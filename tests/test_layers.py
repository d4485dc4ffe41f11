"""Imports go one way: each package imports only those in lines above its own."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Ground first; packages and modules on one line do not import each other.
LAYERS = """
database records timed uris
errors metrics
codecs config storage
sources
faults masks
manifest sinks
worker
planning
cluster
report training
evaluation maintenance
run
bench
"""
RANKS = {name: rank for rank, line in enumerate(LAYERS.strip().splitlines()) for name in line.split()}
NOT_IN_MOEBIUS = {"ray", "pyarrow", "fsspec", "omegaconf", "pipeline", "jobs"}
FILES = sorted((ROOT / "pipeline").rglob("*.py"))


def imported_modules(path: Path) -> Iterator[str]:
    """Full names of what a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{name.name}" for name in node.names if node.module == "pipeline")


def package_of(path: Path) -> str:
    return path.relative_to(ROOT / "pipeline").with_suffix("").parts[0]


def test_every_package_and_module_has_its_layer():
    assert {package_of(path) for path in FILES} - {"__init__"} == RANKS.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_lead_down(path):
    package = package_of(path)
    imported = {name.split(".")[1] for name in imported_modules(path) if name.startswith("pipeline.")} - {package}
    upwards = {name for name in imported if name in RANKS and RANKS[name] >= RANKS[package]}
    assert not upwards and not any(name.split(".")[0] == "jobs" for name in imported_modules(path))


@pytest.mark.parametrize("path", sorted((ROOT / "moebius").rglob("*.py")), ids=lambda path: path.stem)
def test_the_model_knows_nothing_of_clusters(path):
    assert not {name.split(".")[0] for name in imported_modules(path)} & NOT_IN_MOEBIUS
